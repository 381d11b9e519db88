"""The local alert rules: what on this snapshot deserves a person, in the order they should look.

A table of rules over one view; each yields the figures its sentence needs and names where to look. They
mirror the Prometheus rules, so that a shop without Prometheus is warned too. The shown sentences live in
the wording table as `finding_<id>`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.formatting import count, duration, literal, member, percent, size
from dashboard.history import History
from dashboard.messages import Target
from dashboard.metrics import Metrics
from dashboard.snapshots import Snapshot

CRITICAL, WARNING = "critical", "warning"
SEVERITIES = (CRITICAL, WARNING)
GLYPHS = {CRITICAL: "✗", WARNING: "▲"}

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may look at."""

    snapshot: Snapshot
    metrics: Metrics | None
    history: History
    now: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `check` returns the figures of the sentence when it fires, else None."""

    id: str
    severity: str
    target: Target
    check: Callable[[View], Values | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that fires now."""

    id: str
    severity: str
    target: Target
    values: tuple[tuple[str, str], ...]


def evaluate(view: View) -> tuple[Finding, ...]:
    """All rules that fire, critical ones first, in the table's order."""
    found = [
        Finding(rule.id, rule.severity, rule.target, tuple(values.items()))
        for rule in RULES
        if (values := rule.check(view)) is not None
    ]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _lost(view: View) -> Values | None:
    return {} if view.snapshot.link.state == "lost" else None


def _not_ready(view: View) -> Values | None:
    ready = view.snapshot.ready
    if ready.failure is not None or member(ready.data, "status") in (None, "ready"):
        return None
    checks = member(ready.data, "checks")
    bad = [
        f"{literal(name, limit=20)}={literal(value, limit=40)}"
        for name, value in (checks.items() if isinstance(checks, dict) else ())
        if value not in ("ok", "no")
    ]
    return {"checks": ", ".join(bad[:5]) or literal(member(ready.data, "status"), limit=20)}


def _key_refused(view: View) -> Values | None:
    failure = view.snapshot.key_failure()
    if failure is None or failure.cause not in ("unauthorized", "not_configured"):
        return None
    return {"status": str(failure.status or "")}


def _key_lacks_scope(view: View) -> Values | None:
    scopes, failure = view.snapshot.missing_scopes, view.snapshot.key_failure()
    if failure is None or failure.cause != "forbidden":
        return None
    return {"scopes": ", ".join(scopes) or "—"}


def _above(
    name: str, limit: float, *, text: Callable[[float], str] = count, **labels: str
) -> Callable[..., Values | None]:
    def check(view: View) -> Values | None:
        value = view.metrics.value(name, **labels) if view.metrics else None
        return {"value": text(value)} if value is not None and abs(value) > limit else None

    return check


def _below(name: str, limit: float, *, text: Callable[[float], str] = count) -> Callable[..., Values | None]:
    def check(view: View) -> Values | None:
        if view.metrics is None or name not in view.metrics.samples:
            return None
        value = view.metrics.value(name)
        return {"value": text(value)} if value is not None and value < limit else None

    return check


def _older(name: str, limit_seconds: float, **labels: str) -> Callable[..., Values | None]:
    def check(view: View) -> Values | None:
        value = view.metrics.value(name, **labels) if view.metrics else None
        if not value or view.now - value <= limit_seconds:
            return None
        return {"value": duration(view.now - value)}

    return check


def _grew(name: str) -> Callable[..., Values | None]:
    def check(view: View) -> Values | None:
        value = view.history.grown(name)
        return {"value": count(value)} if value else None

    return check


def _slow(series: int, limit_seconds: float) -> Callable[..., Values | None]:
    def check(view: View) -> Values | None:
        lately = view.history.lately()
        value = lately.p95[series] if lately else None
        return {"value": duration(value)} if value is not None and value > limit_seconds else None

    return check


def _wechat_unclear(view: View) -> Values | None:
    unknown, asked = view.history.grown("unknown"), view.history.grown("asked")
    if not unknown or not asked or unknown / asked < 0.05:
        return None
    return {"value": count(unknown), "share": percent(unknown, asked)}


def _reconcile_stalled(view: View) -> Values | None:
    if view.metrics is None:
        return None
    last = view.metrics.value("payd_reconcile_last_success_timestamp_seconds")
    started = view.metrics.epoch
    since = max(last or 0.0, started or 0.0)
    return {"value": duration(view.now - since)} if since and view.now - since > 300 else None


def _redis_down(view: View) -> Values | None:
    known = view.metrics is not None and "payd_redis_up" in view.metrics.samples
    return {} if known and view.metrics is not None and view.metrics.value("payd_redis_up") == 0 else None


def _restarted(view: View) -> Values | None:
    at = view.history.restarted_at
    return {"value": duration(max(view.now - at, 0.0))} if at is not None and view.now - at < 600 else None


_GIB = 1024**3
_HEALTH, _CALLBACKS, _RECONCILE = Target("health"), Target("callbacks", "faults:"), Target("reconcile")
_WEBHOOKS = Target("webhooks", "faults:")

RULES: tuple[Rule, ...] = (
    Rule("daemon_lost", CRITICAL, _HEALTH, _lost),
    Rule("not_ready", CRITICAL, _HEALTH, _not_ready),
    Rule("key_refused", CRITICAL, Target("log"), _key_refused),
    Rule("discrepancies", CRITICAL, _RECONCILE, _above("payd_discrepancies_open", 0)),
    Rule("forged", CRITICAL, _CALLBACKS, _grew("forged")),
    Rule("clock_skew", CRITICAL, _HEALTH, _above("payd_clock_skew_seconds", 60, text=duration)),
    Rule("storage_space", CRITICAL, _HEALTH, _below("payd_storage_free_bytes", _GIB, text=size)),
    Rule("reconcile_stalled", CRITICAL, _RECONCILE, _reconcile_stalled),
    Rule("key_days", CRITICAL, _HEALTH, _below("payd_platform_key_days_left", 14)),
    Rule("server_errors", CRITICAL, _HEALTH, _grew("errors")),
    Rule("key_scope", WARNING, Target("log"), _key_lacks_scope),
    Rule("wechat_unclear", WARNING, _HEALTH, _wechat_unclear),
    Rule("payment_old", WARNING, Target("orders", "status:PAYING"),
         _older("payd_oldest_open_timestamp_seconds", 4 * 3600, subject="payment")),
    Rule("refund_old", WARNING, Target("refunds", "status:REFUNDING"),
         _older("payd_oldest_open_timestamp_seconds", 1800, subject="refund")),
    Rule("webhook_late", WARNING, _WEBHOOKS, _older("payd_webhook_oldest_pending_timestamp_seconds", 600)),
    Rule("webhook_dead", WARNING, _WEBHOOKS, _above("payd_webhook_attempts_total", 0, outcome="dead")),
    Rule("api_slow", WARNING, _HEALTH, _slow(0, 2.0)),
    Rule("notify_slow", WARNING, _HEALTH, _slow(1, 2.0)),
    Rule("wechat_slow", WARNING, _HEALTH, _slow(2, 3.0)),
    Rule("loop_lag", WARNING, _HEALTH, _above("payd_loop_lag_seconds", 0.1, text=duration)),
    Rule("queue_deep", WARNING, _HEALTH, _above("payd_storage_queue_depth", 200)),
    Rule("wal_large", WARNING, _HEALTH, _above("payd_storage_wal_bytes", 64 * 1024**2, text=size)),
    Rule("redis_down", WARNING, _HEALTH, _redis_down),
    Rule("restarted", WARNING, Target("log"), _restarted),
)  # fmt: skip
