"""The way of an order as bars: created, paying, paid, with shares and the present pace."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from dashboard.formatting import DASH, count, percent, rate
from dashboard.history import Point
from dashboard.metrics import Metrics
from dashboard.themes import Paint
from dashboard.wording import Wording

EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int) -> str:
    """A bar of `share` (0 to 1) of `width` cells, in eighths of a cell."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (EIGHTHS[rest] if rest else "")


def funnel_text(metrics: Metrics | None, lately: Point | None, *, width: int, say: Wording, paint: Paint) -> Text:
    """Three lines for a panel of `width` cells; dashes while nothing is known."""
    created = metrics.value("payd_day_created_orders") if metrics else None
    paying = metrics.value("payd_orders", status="PAYING") if metrics else None
    paid = metrics.value("payd_day_paid_orders") if metrics else None
    paces = (lately.created_per_minute if lately else None, None, lately.paid_per_minute if lately else None)
    rows = (("funnel_created", created, "accent"), ("funnel_paying", paying, "wait"), ("funnel_paid", paid, "good"))
    most = max((value for _, value, _ in rows if value is not None), default=0.0) or 1.0
    names = [say(key) for key, _, _ in rows]
    name_width = max(cell_len(name) for name in names)
    text = paint.text()
    for index, (_, value, role) in enumerate(rows):
        share = percent(value, created) if index == 2 and value is not None else ""
        pace = say("per_minute", rate=rate(paces[index])) if paces[index] is not None else ""
        tail = f"{count(value):>7} {share:>4} {pace:<10}"
        room = max(width - name_width - cell_len(tail) - 3, 3)
        drawn = DASH if value is None else bar(value / most, room)
        name = names[index] + " " * (name_width - cell_len(names[index]))
        text.append_text(paint.text((name, "dim"), " ", (drawn, role), " " * (room - cell_len(drawn) + 1)))
        text.append_text(paint.text((tail, "plain"), "\n" if index < 2 else ""))
    return text
