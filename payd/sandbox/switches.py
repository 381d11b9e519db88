"""Every switch of the simulator as one table: its default, what it may be, and what it does.

Switches are for behaviour that WeChat documents in two ways, for nuisances, and for speed. They are read and
set at ``/_sandbox/switches``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from payd.sandbox.errors import ControlRefused

#: switch -> the texts it may be; switches that are not here are numbers or booleans
CHOICES: dict[str, tuple[str, ...]] = {
    "reentry_refusal": ("OUT_TRADE_NO_USED", "INVALID_REQUEST"),
    "paid_refusal": ("ORDERPAID", "ORDER_PAID"),
    "close_unknown": ("burn", "not_found"),
    "refund_outcome": ("SUCCESS", "CLOSED", "ABNORMAL", "hold"),
}


@dataclass(frozen=True, slots=True)
class Switches:
    """The present setting of every switch; the README explains each of them."""

    rate_limits: bool = True
    refuse_replays: bool = False
    reentry_refusal: str = "OUT_TRADE_NO_USED"
    paid_refusal: str = "ORDERPAID"
    close_unknown: str = "burn"
    refund_delay_seconds: float = 1.0
    refund_outcome: str = "SUCCESS"
    refund_minimum_interval_seconds: float = 0.0
    notify_payments: bool = True
    notify_refunds: bool = True
    nuisance_rate: float = 0.0

    def changed(self, wanted: dict[str, Any]) -> Switches:
        """These switches with ``wanted`` applied. Raises ControlRefused, naming the first bad one."""
        known = asdict(self)
        values: dict[str, Any] = {}
        for name, value in wanted.items():
            if name not in known:
                names = ", ".join(item.name for item in fields(self))
                raise ControlRefused("PARAM_ERROR", f"no switch {name!r}; there are {names}", status=400)
            values[name] = _checked(name, known[name], value)
        return replace(self, **values)


def _checked(name: str, present: Any, value: Any) -> Any:
    if name in CHOICES:
        good = value in CHOICES[name]
        meaning = " | ".join(CHOICES[name])
    elif isinstance(present, bool):
        good, meaning = isinstance(value, bool), "true | false"
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        upper = 1.0 if name == "nuisance_rate" else float("inf")
        good, meaning = number and 0 <= value <= upper, f"a number from 0 to {upper}"
    if not good:
        raise ControlRefused("PARAM_ERROR", f"{name} must be {meaning}", status=400)
    return float(value) if isinstance(present, float) else value
