"""Screen 7: the daemon's own readings, each with its verdict in a word and the bound it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from dashboard.formatting import count, duration, fit, literal, member, rate, size, whole
from dashboard.history import History
from dashboard.metrics import Metrics
from dashboard.screens.board_screen import BoardScreen
from dashboard.snapshots import AUTH, Snapshot, Want
from dashboard.widgets.line import Line


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: where it comes from, how it is written, and from which value on it is bad."""

    key: str
    read: Callable[[Metrics, History], float | None]
    write: Callable[[float | None], str]
    worse: float | None = None
    """Bad beyond this value; with `low`, below it."""
    low: bool = False

    def is_bad(self, value: float) -> bool:
        """Whether the value is beyond its bound."""
        if self.worse is None:
            return False
        return value < self.worse if self.low else abs(value) > self.worse


def _gauge(name: str) -> Callable[[Metrics, History], float | None]:
    return lambda metrics, history: metrics.value(name) if name in metrics.samples else None


def _counter(name: str, **labels: str) -> Callable[[Metrics, History], float | None]:
    return lambda metrics, history: metrics.value(name, **labels)


def _lately(name: str, index: int | None = None) -> Callable[[Metrics, History], float | None]:
    def read(metrics: Metrics, history: History) -> float | None:
        point = history.lately()
        value = getattr(point, name) if point else None
        return value[index] if value is not None and index is not None else value

    return read


READINGS: tuple[Reading, ...] = (
    Reading("requests_per_second", _lately("requests_per_second"), rate),
    Reading("in_flight", _gauge("payd_http_requests_in_flight"), count, 200),
    Reading("api_p95", _lately("p95", 0), duration, 2.0),
    Reading("notify_p95", _lately("p95", 1), duration, 2.0),
    Reading("wechat_p95", _lately("p95", 2), duration, 3.0),
    Reading("loop_lag", _gauge("payd_loop_lag_seconds"), duration, 0.1),
    Reading("queue_depth", _gauge("payd_storage_queue_depth"), count, 200),
    Reading("commits_failed", _counter("payd_storage_commits_total", outcome="unavailable"), count, 0),
    Reading("file_bytes", _gauge("payd_storage_file_bytes"), size),
    Reading("wal_bytes", _gauge("payd_storage_wal_bytes"), size, 64 * 1024**2),
    Reading("free_bytes", _gauge("payd_storage_free_bytes"), size, 1024**3, low=True),
    Reading("clock_skew", _gauge("payd_clock_skew_seconds"), duration, 60),
    Reading("key_days", _gauge("payd_platform_key_days_left"), count, 14, low=True),
    Reading("redis", _gauge("payd_redis_up"), count, 1, low=True),
    Reading("backlog", _gauge("payd_reconcile_backlog"), count, 500),
    Reading("webhook_backlog", _gauge("payd_webhook_backlog"), count, 500),
    Reading("discrepancies", _gauge("payd_discrepancies_open"), count, 0),
    Reading("memory", _gauge("process_resident_memory_bytes"), size, 512 * 1024**2),
)
_OPTIONAL = ("redis", "key_days")
"""Not there at all where payd runs without them."""
_WIDTHS = (27, 12, 8)
"""Of the columns reading, value and verdict; the bound takes the rest."""
AUTH_COUNTERS = ("missing_key", "invalid_key", "scope_denied", "not_configured")


class HealthScreen(BoardScreen):
    """See the module."""

    NAME = "health"
    AUTO_FOCUS = "#readings"
    HINTS = (("1-9", "screens"), ("j/k", "scroll"), ("m", "maximise"))
    BINDINGS = [Binding("j", "scroll(1)", show=False), Binding("k", "scroll(-1)", show=False)]

    def compose_body(self) -> ComposeResult:
        ready = Line(id="ready", classes="panel", fixed=False)
        ready.border_title = self.board.say("panel_ready")
        yield ready
        with VerticalScroll(id="readings"):
            yield Line(id="readings-text", fixed=False)
        yield Line(id="totals")

    def wants(self) -> tuple[Want, ...]:
        """The four authentication counters, which need a key."""
        return (AUTH,)

    def show(self, snapshot: Snapshot) -> None:
        """Readiness above, readings below."""
        self._show_ready(snapshot)
        text = self._readings(snapshot.metrics.data)
        text.append_text(self._refusals(snapshot))
        self.query_one("#readings-text", Line).show(text)

    def _show_ready(self, snapshot: Snapshot) -> None:
        board, part = self.board, snapshot.ready
        say, paint, checks = board.say, board.paint, member(part.data, "checks")
        status = member(part.data, "status")
        look = {"ready": (f"✓ {say('ready')}", "good"), "not_ready": (f"✗ {say('not_ready')}", "bad")}
        text = paint.text(look.get(status, ("—", "dim")) if isinstance(status, str) else ("—", "dim"))
        for name, verdict in list(checks.items())[:12] if isinstance(checks, dict) else ():
            fine = verdict in ("ok", "no")
            mark = (f"{'✓' if fine else '✗'} {literal(verdict, limit=60)}", "good" if fine else "bad")
            text.append_text(paint.text(f"   {literal(name, limit=20)}: ", mark))
        if part.failure is not None:
            text.append_text(paint.text("  ", (f"✗ {board.failure_words(part.failure)}", "bad")))
        self.query_one("#ready", Line).show(text)

    def _readings(self, metrics: Metrics | None) -> Text:
        say, text = self.board.say, self.board.paint.text()
        for reading in READINGS:
            value = reading.read(metrics, self.board.history) if metrics else None
            if value is None and metrics is not None and reading.key in _OPTIONAL:
                continue
            verdict = ("—", "dim")
            if value is not None:
                verdict = (f"✗ {say('bad')}", "bad") if reading.is_bad(value) else (f"✓ {say('good')}", "good")
            sign = "≥" if reading.low else "≤"
            bound = "" if reading.worse is None else f"{sign} {reading.write(reading.worse)}"
            text.append_text(self._line(f"reading_{reading.key}", reading.write(value), verdict, bound))
        return text

    def _refusals(self, snapshot: Snapshot) -> Text:
        text, part = self.board.paint.text(), snapshot.part(AUTH)
        for name in AUTH_COUNTERS:
            value = whole(member(part.data, name))
            verdict = ("—" if value is None else "·", "dim")
            text.append_text(self._line(f"reading_auth_{name}", count(value), verdict, self.board.say("since_start")))
        return text

    def _line(self, key: str, value: str, verdict: tuple[str, str], bound: str) -> Text:
        name = set_cell_size(fit(self.board.say(key), _WIDTHS[0]), _WIDTHS[0])
        judged = set_cell_size(verdict[0], _WIDTHS[2])
        role = "bad" if verdict[1] == "bad" else "title"
        return self.board.paint.text(
            name, (f" {value:>{_WIDTHS[1]}}  ", role), (judged, verdict[1]), (f" {bound}", "dim"), "\n"
        )

    def tick(self, now: float) -> None:
        """Ages."""
        board, snapshot = self.board, self.board.snapshot
        self.query_one("#ready", Line).set_age(self.age_words(snapshot.ready))
        auth = snapshot.part(AUTH)
        pieces = [(f" {board.say('metrics_age', age=self.age_words(snapshot.metrics))}", "dim"),
                  (f" · {board.say('auth_age', age=self.age_words(auth))}", "dim")]  # fmt: skip
        if auth.failure is not None:
            pieces.append((f" · ✗ {board.failure_words(auth.failure)}", "bad"))
        self.query_one("#totals", Line).show(board.paint.text(*pieces))
        self.query_one("#readings", VerticalScroll).set_class(self.is_stale(snapshot.metrics), "-stale")

    def action_scroll(self, rows: int) -> None:
        """`j` and `k`."""
        self.query_one("#readings", VerticalScroll).scroll_relative(y=rows, animate=False)
