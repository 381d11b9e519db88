"""Rules for JSON members, as values: a table of rules checks a whole request body.

Lengths are counted in bytes of UTF-8 and complaints are worded as in real answers (section 5.4). Unknown
members, null, and characters of four bytes are refused everywhere (section 0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payd.sandbox.clock import parse_rfc3339
from payd.sandbox.errors import Refusal
from payd.sandbox.refusals import param_error

_UNKNOWN_FIELD = 270924358  # section 10.2: unknown extra parameter
_OUT_OF_RANGE = 268435464
_URL = re.compile(r"https?://[^/?#\s@]+/[^?#\s]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: ``body`` and ``/amount/total``, so that complaints can name it."""

    location: str
    pointer: str = ""

    def at(self, name: str | int) -> Place:
        """The place of member ``name`` inside this one."""
        return Place(self.location, f"{self.pointer}/{name}")

    def wrong(self, text: str, value: Any, *, suffix: int = 268435461) -> Refusal:
        """``PARAM_ERROR`` in WeChat's own pattern."""
        message = f"输入源“/{self.location}{self.pointer}”映射到{text}"
        return param_error(message, location=self.location, pointer=self.pointer, value=value, suffix=suffix)

    def missing(self, label: str) -> Refusal:
        """The complaint about a required member that is not there."""
        return self.wrong(f"字段“{label}”必填性规则校验失败，此字段为必填项", None)


@dataclass(frozen=True, slots=True)
class Rule:
    """What every rule has: WeChat's Chinese label and whether the member must be there."""

    label: str
    required: bool = field(default=False, kw_only=True)

    def check(self, value: Any, place: Place) -> None:
        """Raise Refusal when ``value`` at ``place`` breaks the rule."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Text(Rule):
    """A string of ``minimum``-``maximum`` bytes, optionally of one pattern or out of some choices."""

    maximum: int
    minimum: int = field(default=1, kw_only=True)
    pattern: re.Pattern[str] | None = field(default=None, kw_only=True)
    choices: tuple[str, ...] = field(default=(), kw_only=True)

    def check(self, value: Any, place: Place) -> None:
        if not isinstance(value, str):
            raise place.wrong(f"值字段“{self.label}”类型校验失败，此字段必须为字符串", value)
        if value and max(value) > "\uffff":
            raise place.wrong(f"值字段“{self.label}”字符串规则校验失败，含有四字节UTF-8字符", value)
        size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        head = f"值字段“{self.label}”字符串规则校验失败，字节数 {size}，"
        if size < self.minimum:
            raise place.wrong(f"{head}小于最小值 {self.minimum}", value)
        if size > self.maximum:
            raise place.wrong(f"{head}大于最大值 {self.maximum}", value)
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise place.wrong(f"值字段“{self.label}”字符串规则校验失败，格式不正确", value)
        if self.choices and value not in self.choices:
            raise place.wrong(f"枚举字段“{self.label}”规则校验失败，取值不在枚举范围内", value)


@dataclass(frozen=True, slots=True)
class Time(Rule):
    """An RFC 3339 time with a zone."""

    def check(self, value: Any, place: Place) -> None:
        Text(self.label, 64).check(value, place)
        if parse_rfc3339(value) is None:
            raise place.wrong(f"时间字段“{self.label}”规则校验失败，不符合RFC3339格式", value)


@dataclass(frozen=True, slots=True)
class NotifyUrl(Rule):
    """A full URL with a path and without a query string; loopback hosts are allowed here, of course."""

    maximum: int

    def check(self, value: Any, place: Place) -> None:
        Text(self.label, self.maximum).check(value, place)
        if not _URL.fullmatch(value):
            raise place.wrong(f"值字段“{self.label}”字符串规则校验失败，必须是不带参数的完整URL", value)


@dataclass(frozen=True, slots=True)
class Whole(Rule):
    """A JSON integer; ``1.0``, ``true`` and ``"1"`` are none."""

    minimum: int = 0

    def check(self, value: Any, place: Place) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise place.wrong(f"数值字段“{self.label}”类型校验失败，此字段必须为整数", value)
        if value < self.minimum:
            raise place.wrong(
                f"数值字段“{self.label}”规则校验失败，值低于最小值 {self.minimum}", value, suffix=_OUT_OF_RANGE
            )
        if value > 2**63 - 1:
            raise place.wrong(
                f"数值字段“{self.label}”规则校验失败，值高于最大值 {2**63 - 1}", str(value), suffix=_OUT_OF_RANGE
            )


@dataclass(frozen=True, slots=True)
class Flag(Rule):
    """true or false."""

    def check(self, value: Any, place: Place) -> None:
        if not isinstance(value, bool):
            raise place.wrong(f"字段“{self.label}”类型校验失败，此字段必须为布尔值", value)


@dataclass(frozen=True, slots=True)
class Group(Rule):
    """An object with known members only."""

    members: Mapping[str, Rule]

    def check(self, value: Any, place: Place) -> None:
        if not isinstance(value, dict):
            raise place.wrong(f"对象字段“{self.label}”类型校验失败，此字段必须为对象", value)
        for name, member in value.items():
            rule = self.members.get(name)
            if rule is None:
                raise place.at(name).wrong("字段校验失败，存在非法的额外参数", member, suffix=_UNKNOWN_FIELD)
            if member is None:
                raise place.at(name).wrong(f"字段“{rule.label}”规则校验失败，不允许为null", None)
            rule.check(member, place.at(name))
        for name, rule in self.members.items():
            if rule.required and name not in value:
                raise place.at(name).missing(rule.label)


@dataclass(frozen=True, slots=True)
class Items(Rule):
    """An array of at least one member, each by ``rule``."""

    rule: Rule

    def check(self, value: Any, place: Place) -> None:
        if not isinstance(value, list) or not value:
            raise place.wrong(f"数组字段“{self.label}”规则校验失败，必须为至少含一个元素的数组", value)
        for index, member in enumerate(value):
            if member is None:
                raise place.at(index).wrong(f"字段“{self.label}”规则校验失败，不允许为null", None)
            self.rule.check(member, place.at(index))
