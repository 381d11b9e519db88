"""A plot over time with axes, redrawn only when the history has a new point or the size or theme changed."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual_plotext import PlotextPlot

from dashboard.themes import PLOT_COLOURS, PLOT_MARKERS, PLOT_MARKERS_MONO


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: seconds before now (negative) against values; `dotted` for the lesser one of a pair."""

    at: tuple[float, ...]
    values: tuple[float, ...]
    colour: int
    dotted: bool = False


class TrendPlot(PlotextPlot):
    """See the module; `empty` stands in the middle while there is nothing to draw."""

    can_focus = True

    def __init__(self, *, id: str, empty: str) -> None:
        super().__init__(id=id, classes="panel plot")
        self._empty = empty
        self._curves: tuple[Curve, ...] = ()
        self._restarts: tuple[float, ...] = ()
        self._drawn: tuple[object, ...] = ()
        self._picture = Text("")

    def show(self, curves: tuple[Curve, ...], restarts: tuple[float, ...]) -> None:
        """Draw these curves, and a vertical mark where the daemon restarted."""
        if (curves, restarts) != (self._curves, self._restarts):
            self._curves, self._restarts = curves, restarts
            self.refresh()

    def set_age(self, words: str) -> None:
        """Write the age into the lower border."""
        if self.border_subtitle != words:
            self.border_subtitle = words

    def render(self) -> Text:
        """The picture; the last one while nothing changed."""
        state = (self._curves, self._restarts, self.size, self.app.theme)
        if state != self._drawn:
            self._drawn = state
            self._picture = self._draw()
        return self._picture

    def _draw(self) -> Text:
        if not any(curve.at for curve in self._curves) or self.size.width < 12 or self.size.height < 3:
            return Text("\n" * (self.size.height // 2) + self._empty, justify="center")
        colours = PLOT_COLOURS.get(self.app.theme, PLOT_COLOURS["payd-dark"])
        mono = self.app.theme == "payd-mono" or self.app.no_color
        plot = self.plt
        plot.clear_data()
        plot.clear_color()
        for curve in self._curves:
            if curve.at:
                marker = (PLOT_MARKERS_MONO if mono else PLOT_MARKERS)[curve.colour]
                draw = plot.scatter if curve.dotted or len(curve.at) == 1 else plot.plot
                draw(list(curve.at), list(curve.values), marker=marker, color=colours[curve.colour])
        oldest = min(min(curve.at) for curve in self._curves if curve.at)
        span = max(-oldest, 60.0)
        highest = max(max(curve.values) for curve in self._curves if curve.values)
        top = nice_top(highest)
        steps = 4 if self.size.height >= 12 else 2
        ticks = [top * step / steps for step in range(steps + 1)]
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        plot.xlim(-span, 0)
        plot.ylim(0, top)
        plot.yticks(ticks, [f"{tick:g}" for tick in ticks])
        plot.xticks([-span, -span / 2, 0], [_ago(span), _ago(span / 2), "0"])
        for at in self._restarts:
            if -span < at <= 0:
                plot.vline(at, color=colours[2])
        picture = super().render()
        return picture if isinstance(picture, Text) else Text(str(picture))


def nice_top(highest: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40 ... above `highest`, so that the axis reads in round numbers."""
    top = 1.0
    while top < highest:
        leading = int(f"{top:e}"[0])
        top *= 2.5 if leading == 4 else 2
    return top


def legend_marks(theme: str, *, mono: bool) -> tuple[tuple[str, str], ...]:
    """What each of the three curves is drawn with: a sample and its colour."""
    if mono or theme == "payd-mono":
        return (("⠒⠒", "plain"), ("••", "plain"), ("xx", "plain"))
    colours = PLOT_COLOURS.get(theme, PLOT_COLOURS["payd-dark"])
    return tuple(("━━", f"#{red:02x}{green:02x}{blue:02x}") for red, green, blue in colours)


def _ago(seconds: float) -> str:
    return f"-{seconds / 60:.0f}m" if seconds >= 120 else f"-{seconds:.0f}s"
