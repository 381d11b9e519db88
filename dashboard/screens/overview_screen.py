"""Screen 1: is money coming in, does everything work, what needs me. Readable in three seconds."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

from dashboard.formatting import count, yuan
from dashboard.history import Point
from dashboard.metrics import Metrics
from dashboard.screens.board_screen import BoardScreen
from dashboard.snapshots import Snapshot
from dashboard.widgets.attention import AttentionList
from dashboard.widgets.funnel import funnel_text
from dashboard.widgets.line import Line
from dashboard.widgets.tile import Tile
from dashboard.widgets.trend_plot import Curve, TrendPlot, legend_marks

TILES = (
    ("paid", "payd_day_paid_amount_fen"),
    ("refunded", "payd_day_refunded_amount_fen"),
    ("net", ""),
    ("count", "payd_day_paid_orders"),
)
LATENCIES = ("api", "notify", "wechat")


class OverviewScreen(BoardScreen):
    """See the module."""

    NAME = "overview"
    AUTO_FOCUS = "#attention"
    HINTS = (("1-9", "screens"), ("enter", "jump"), ("tab", "panel"), ("o", "open"), ("m", "maximise"))

    def compose_body(self) -> ComposeResult:
        say = self.board.say
        with VerticalScroll(id="overview", can_focus=False):
            with Horizontal(id="tiles"):
                for name, _ in TILES:
                    tile = Tile(id=f"tile-{name}")
                    tile.border_title = say(f"tile_{name}")
                    yield tile
            with Horizontal(id="middle"):
                funnel = Line(id="funnel", classes="panel")
                funnel.border_title = say("panel_funnel")
                yield funnel
                attention = AttentionList(id="attention")
                attention.border_title = say("panel_attention")
                yield attention
            with Horizontal(id="plots"):
                orders = TrendPlot(id="plot-orders", empty=say("plot_empty"))
                orders.border_title = say("panel_orders_plot")
                yield orders
                latency = TrendPlot(id="plot-latency", empty=say("plot_empty"))
                latency.border_title = say("panel_latency_plot")
                yield latency
            yield Line(id="legend")

    def show(self, snapshot: Snapshot) -> None:
        """Draw everything that hangs on the scrape."""
        board = self.board
        metrics: Metrics | None = snapshot.metrics.data
        self._show_money(metrics)
        lately = board.history.lately()
        funnel = self.query_one("#funnel", Line)
        width = max(funnel.size.width - 2, 20)
        funnel.show(funnel_text(metrics, lately, width=width, say=board.say, paint=board.paint))
        known = snapshot.metrics.known or snapshot.link.state == "lost"
        self.query_one(AttentionList).show(board.alerts.attention, known=known, say=board.say, paint=board.paint)
        self._show_plots()
        self._show_legend(lately)

    def _show_money(self, metrics: Metrics | None) -> None:
        paint = self.board.paint
        paid = metrics.value("payd_day_paid_amount_fen") if metrics else None
        refunded = metrics.value("payd_day_refunded_amount_fen") if metrics else None
        number = metrics.value("payd_day_paid_orders") if metrics else None
        net = None if paid is None or refunded is None else paid - refunded
        figures = {"paid": yuan(paid), "refunded": yuan(refunded), "net": yuan(net), "count": count(number)}
        for name, figure in figures.items():
            self.query_one(f"#tile-{name}", Tile).show(figure, paint.text((figure, "money")))

    def _show_plots(self) -> None:
        history = self.board.history
        newest = history.points[-1].at if history.points else 0.0
        restarts = tuple(point.at - newest for point in history.points if point.restarted)
        orders = [
            Curve(*map(tuple, history.series([getattr(point, name) for point in history.points])), colour)
            for name, colour in (("created_per_minute", 0), ("paid_per_minute", 1))
        ]
        self.query_one("#plot-orders", TrendPlot).show(tuple(orders), restarts)
        latencies = []
        for index in range(len(LATENCIES)):
            for share, dotted in (("p95", False), ("p50", True)):
                seconds = [getattr(point, share)[index] for point in history.points]
                at, values = history.series(seconds)
                latencies.append(Curve(tuple(at), tuple(value * 1000 for value in values), index, dotted))
        self.query_one("#plot-latency", TrendPlot).show(tuple(latencies), restarts)

    def _show_legend(self, lately: Point | None) -> None:
        board = self.board
        marks = legend_marks(board.theme, mono=board.no_color)
        pieces: list[tuple[str, str]] = []
        for index, key in enumerate(("legend_created", "legend_paid")):
            pieces += [(marks[index][0], marks[index][1]), (f" {board.say(key)} ", "plain")]
        pieces.append((f" {board.say('legend_latency')}  ", "dim"))
        for index, name in enumerate(LATENCIES):
            pair = (lately.p50[index], lately.p95[index]) if lately else (None, None)
            told = "/".join(count(None if value is None else value * 1000) for value in pair)
            pieces += [marks[index], (f" {board.say(f'latency_{name}')} {told} ms  ", "plain")]
        self.query_one("#legend", Line).show(board.paint.text(*pieces))

    def tick(self, now: float) -> None:
        """Ages in the borders, and stale figures dimmed."""
        part = self.board.snapshot.metrics
        words, stale = self.age_words(part), self.is_stale(part)
        for name, _ in TILES:
            tile = self.query_one(f"#tile-{name}", Tile)
            tile.set_age(words)
            tile.set_class(stale, "-stale")
        for widget in (self.query_one("#funnel", Line), self.query_one(AttentionList), *self.query(TrendPlot)):
            widget.set_age(words)
            widget.set_class(stale, "-stale")
