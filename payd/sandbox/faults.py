"""Faults: what can go wrong on purpose, where, how often, and to whose request.

``KINDS`` is the whole list. A rule set by the control API is used up by the requests or callbacks it hits;
``nuisance_rate`` adds seeded random ones for long simulations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from payd.sandbox.errors import ControlRefused

APIS = (
    "prepay",
    "query",
    "close",
    "refund",
    "refund_query",
    "abnormal_refund",
    "trade_bill",
    "fund_bill",
    "download",
    "certificates",
    "echo",
)
#: what a rule may aim at -> the APIs it means
TARGETS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in APIS},
    "bill": ("trade_bill", "fund_bill"),
    "all": APIS,
    "notify": ("notify",),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to fail. ``only`` limits it to some APIs; ``seconds`` is the default duration or distance.

    ``execute`` tells whether the request is carried out; ``instead`` names the refusal that is answered;
    ``ending`` is what becomes of the answer on the wire; ``signing`` how it is signed; ``pause`` when
    the simulator sleeps.
    """

    meaning: str
    only: tuple[str, ...] = APIS
    execute: bool = True
    instead: str | None = None
    ending: str = "answer"
    signing: str = "true"
    pause: bool = False
    seconds: float = 0.0
    nuisance: bool = False


_BILLS = ("trade_bill", "fund_bill")
_NOTIFY = ("notify",)
_BOTH = (*APIS, "notify")

#: kind -> what it does
KINDS: Mapping[str, Kind] = {
    "delay": Kind("waits `seconds`, then answers as usual", pause=True, seconds=1.0, nuisance=True),
    "hang_before": Kind("never answers; not executed", execute=False, ending="hang", seconds=3600),
    "hang_after": Kind("never answers; executed", ending="hang", seconds=3600),
    "reset_before": Kind("connection reset; not executed", execute=False, ending="reset", nuisance=True),
    "reset_after": Kind("connection reset; executed", ending="reset", nuisance=True),
    "host_down": Kind(
        "every connection to the main port is reset for `seconds`; the backup port works",
        execute=False,
        ending="reset",
        seconds=60,
    ),
    "system_error": Kind("500 SYSTEM_ERROR; not executed", execute=False, instead="system_error", nuisance=True),
    "system_error_after": Kind("500 SYSTEM_ERROR; executed", instead="system_error", nuisance=True),
    "bad_gateway": Kind("502 with an HTML page, unsigned; not executed", execute=False, ending="html", nuisance=True),
    "bad_gateway_after": Kind("502 with an HTML page, unsigned; executed", ending="html"),
    "rate_limited": Kind("429 FREQUENCY_LIMITED; not executed", execute=False, instead="frequency", nuisance=True),
    "rate_limited_accepted": Kind("429 FREQUENCY_LIMITED; in fact executed", instead="frequency", nuisance=True),
    "forged_not_found": Kind(
        "unsigned 404 ORDER_NOT_EXIST as an attacker would send; not executed",
        execute=False,
        instead="order_not_exist",
        signing="none",
    ),
    "unauthorized": Kind("unsigned 401 SIGN_ERROR; not executed", execute=False, instead="signature_wrong"),
    "not_enough": Kind("403 NOT_ENOUGH; not executed", only=("refund",), execute=False, instead="not_enough"),
    "user_account_abnormal": Kind(
        "403 USER_ACCOUNT_ABNORMAL; not executed", only=("refund",), execute=False, instead="user_account"
    ),
    "truncated": Kind("the body breaks off in the middle; executed", ending="truncate", nuisance=True),
    "slow_body": Kind("the body drips for `seconds`; executed", ending="drip", seconds=2.0),
    "corrupt_body": Kind("one byte of the body is changed after signing; executed", ending="corrupt"),
    "unsigned": Kind("no Wechatpay-* headers", only=_BOTH, signing="none", nuisance=True),
    "wrong_signature": Kind("well-formed signature of nobody", only=_BOTH, signing="foreign", nuisance=True),
    "probe": Kind("WECHATPAY/SIGNTEST/ probe instead of the signature", only=_BOTH, signing="probe", nuisance=True),
    "wrong_serial": Kind("Wechatpay-Serial of an unknown key", only=_BOTH, signing="serial"),
    "stale": Kind("signed with a timestamp `seconds` in the past", only=_BOTH, signing="stale", seconds=600),
    "clock_skew": Kind(
        "WeChat's clock is `seconds` ahead: window, Date and signed timestamp", signing="skew", seconds=120
    ),
    "damaged_bill": Kind("bytes of the bill file are changed", only=("download",), ending="corrupt"),
    "statement_creating": Kind("400 STATEMENT_CREATING", only=_BILLS, execute=False, instead="statement_creating"),
    "no_statement": Kind("400 NO_STATEMENT_EXIST", only=_BILLS, execute=False, instead="no_statement"),
    "pay_wins": Kind("the payer pays just before the close: it is refused", only=("close",)),
    "close_wins": Kind("the payer's attempt comes just after the close: it fails", only=("close",)),
    "pay_after_close": Kind("204, and then the payment succeeds all the same (late money)", only=("close",)),
    "lost": Kind("this send is lost on the way; the retry table goes on", only=_NOTIFY, nuisance=True),
    "dropped": Kind("this and all later sends of the notification are lost", only=_NOTIFY),
    "late": Kind("the send is put off by `seconds` of the book's clock", only=_NOTIFY, seconds=60, nuisance=True),
    "duplicate": Kind("sent twice at the same time", only=_NOTIFY, nuisance=True),
    "reorder": Kind(
        "held until another notification was sent, at most `seconds` of the book's clock",
        only=_NOTIFY,
        seconds=60,
        nuisance=True,
    ),
}


@dataclass(slots=True)
class Fault:
    """One rule; ``times`` is how often it still hits, None for until it is cleared.

    ``until`` is the wall-clock end of a rule that lasts, which only ``host_down`` does.
    """

    id: int
    target: str
    kind: str
    times: int | None
    match: str | None
    seconds: float
    until: float | None = None

    @property
    def plan(self) -> Kind:
        """What this kind of fault does."""
        return KINDS[self.kind]


class Faults:
    """The rules in force. Nothing here acts; ``gateway`` and ``notifier`` ask and obey."""

    def __init__(self, seed: int, wall: Callable[[], float]) -> None:
        self._seed = seed
        self._wall = wall
        self._rules: list[Fault] = []
        self._number = 0
        self._random: dict[str, random.Random] = {}

    @property
    def rules(self) -> list[Fault]:
        """The rules that still have something to do, oldest first."""
        return list(self._rules)

    def add(self, wanted: Mapping[str, Any]) -> Fault:
        """Set a rule from ``{"target", "kind", "times", "match", "seconds"}``; raises ControlRefused."""
        unknown = wanted.keys() - {"target", "kind", "times", "match", "seconds"}
        if unknown:
            raise _wrong(f"unknown members: {', '.join(sorted(unknown))}")
        kind = _choice(wanted, "kind", KINDS)
        target = _choice(wanted, "target", TARGETS)
        if not set(KINDS[kind].only) & set(TARGETS[target]):
            raise _wrong(f"{kind} cannot happen to {target}; it can to {', '.join(KINDS[kind].only)}")
        times = wanted.get("times", 1)
        if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
            raise _wrong("times must be a whole number from 1, or null for until cleared")
        seconds = wanted.get("seconds", KINDS[kind].seconds)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or abs(seconds) > 10**7:
            raise _wrong("seconds must be a number")
        match = wanted.get("match")
        if match is not None and not isinstance(match, str):
            raise _wrong("match must be an out_trade_no, out_refund_no or bill_date")
        self._number += 1
        until = self._wall() + seconds if kind == "host_down" else None
        fault = Fault(self._number, target, kind, times, match, float(seconds), until)
        self._rules.append(fault)
        return fault

    def clear(self) -> int:
        """Forget every rule; return how many there were."""
        count = len(self._rules)
        self._rules.clear()
        return count

    def remove(self, fault: Fault) -> None:
        """Forget one rule."""
        self._rules = [rule for rule in self._rules if rule is not fault]

    def find(self, api: str, subjects: tuple[str, ...]) -> Fault | None:
        """The oldest rule that hits this request; it is not used up yet."""
        for rule in self._rules:
            aimed = api in TARGETS[rule.target] and api in rule.plan.only
            if aimed and rule.kind != "host_down" and (rule.match is None or rule.match in subjects):
                return rule
        return None

    def host_down(self) -> Fault | None:
        """The rule that takes the main host down, if one is in force; one that has ended is forgotten."""
        for rule in self._rules:
            if rule.until is not None:
                if self._wall() < rule.until:
                    return rule
                self.remove(rule)
        return None

    def use(self, fault: Fault) -> None:
        """Count one hit; the last one removes the rule."""
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times <= 0:
            self.remove(fault)

    def nuisance(self, api: str, rate: float) -> Fault | None:
        """With probability ``rate`` a fault of a random kind; one stream of numbers per API."""
        if rate <= 0:
            return None
        source = self._random.setdefault(api, random.Random(f"{self._seed}/nuisance/{api}"))
        if source.random() >= rate:
            return None
        name = source.choice([name for name, kind in KINDS.items() if kind.nuisance and api in kind.only])
        seconds = source.uniform(0.05, 0.5) if name == "delay" else KINDS[name].seconds
        return Fault(0, api, name, 1, None, seconds)


def _choice(wanted: Mapping[str, Any], name: str, table: Mapping[str, Any]) -> str:
    value = wanted.get(name)
    if not isinstance(value, str) or value not in table:
        raise _wrong(f"{name} must be one of {', '.join(table)}")
    return value


def _wrong(message: str) -> ControlRefused:
    return ControlRefused("PARAM_ERROR", message, status=400)
