"""The first line of every screen: which money this is, whether the line holds, how old the data is."""

from __future__ import annotations

from rich.text import Text

from dashboard.formatting import data_age, duration, literal, member, wall_time
from dashboard.snapshots import Failure, Snapshot, is_stale
from dashboard.themes import Paint
from dashboard.wording import Wording


def mode_of(snapshot: Snapshot) -> str | None:
    """`sandbox`, `live` or None while nobody has told."""
    mode = member(snapshot.ready.data, "mode")
    if mode is None and snapshot.metrics.data is not None:
        mode = snapshot.metrics.data.labels("payd_build_info").get("mode")
    return mode if mode in ("sandbox", "live") else None


def mode_piece(snapshot: Snapshot, say: Wording) -> tuple[str, str]:
    """The environment label: SANDBOX screams, LIVE is distinct, unknown says so."""
    mode = mode_of(snapshot)
    if mode == "sandbox":
        return f" ▒▒ {say('mode_sandbox')} ▒▒ ", "sandbox"
    return (f" ■ {say('mode_live')} ", "live") if mode == "live" else (f" {say('mode_unknown')} ", "stale")


def link_piece(snapshot: Snapshot, say: Wording) -> tuple[str, str]:
    """The state of the line, glyph and word."""
    state = snapshot.link.state
    glyph, role = {"up": ("●", "good"), "lost": ("✗", "bad")}.get(state, ("○", "wait"))
    return f"{glyph} {say(f'link_{state}')}", role


def age_piece(at: float | None, now: float, interval_seconds: float, say: Wording) -> tuple[str, str]:
    """How old data of time `at` is; STALE n s beyond three intervals; a dash before the first answer."""
    if at is None:
        return say("age_none"), "dim"
    age = data_age(now - at)
    if is_stale(at, now, interval_seconds):
        return say("age_stale", age=age), "stale"
    return say("age_fresh", age=age), "dim"


def panel_age(at: float | None, now: float, interval_seconds: float, say: Wording) -> str:
    """The same for the border of a panel, where `≤ 2 s` stands still while answers come in time.

    A border that changed each second would redraw its whole panel each second.
    """
    if at is not None and now - at <= interval_seconds + 0.5:
        return say("age_within", age=f"{interval_seconds:g} s")
    return age_piece(at, now, interval_seconds, say)[0]


def status_line(
    snapshot: Snapshot, *, now: float, say: Wording, paint: Paint, width: int, readonly: bool, paused: bool, label: str
) -> Text:
    """The whole strip for a terminal of `width` cells: what matters least is left out first."""
    age, role = age_piece(snapshot.metrics.at, now, snapshot.interval_seconds, say)
    data = say("no_data") if snapshot.metrics.at is None else say("data", age=age)
    text = paint.text(mode_piece(snapshot, say), " ", link_piece(snapshot, say), " · ", (data, role))
    metrics = snapshot.metrics.data
    extras: list[tuple[str, str]] = []
    if paused:
        extras.append((f"‖ {say('paused')}", "stale"))
    if readonly:
        extras.append((f"⊘ {say('readonly')}", "wait"))
    if label:
        extras.append((literal(label, limit=30), "title"))
    extras.append((say("every", seconds=f"{snapshot.interval_seconds:g}"), "dim"))
    if metrics is not None:
        version = metrics.labels("payd_build_info").get("version", "?")
        extras.append((f"payd {literal(version, limit=16)}", "dim"))
        if metrics.epoch:
            extras.append((say("uptime", time=duration(max(now - metrics.epoch, 0))), "dim"))
    extras.append((wall_time(now), "dim"))
    for words, role in extras:
        piece = paint.text(" · ", (words, role))
        if text.cell_len + piece.cell_len <= width:
            text.append_text(piece)
    return text


def failure_words(failure: Failure | None, say: Wording) -> str:
    """A failure in a sentence: the cause in our words, then what the other side said."""
    if failure is None:
        return ""
    key = f"cause_{failure.cause}"
    cause = say(key) if say.has(key) else literal(failure.cause, limit=20)
    status = f" ({failure.status})" if failure.status else ""
    shown = failure.cause in ("http", "malformed", "tls", "forbidden", "not_found", "unreachable", "busy")
    detail = f": {literal(failure.detail, limit=160)}" if failure.detail and shown else ""
    return f"{cause}{status}{detail}"


def banner_line(snapshot: Snapshot, *, now: float, say: Wording, paint: Paint) -> Text | None:
    """What stands in the banner, or None when there is nothing to say."""
    link = snapshot.link
    if link.state == "lost":
        wait = max((link.retry_at or now) - now, 0)
        at = snapshot.metrics.at
        data = say("lost_nothing") if at is None else say("lost_data", age=data_age(now - at))
        words = say("banner_lost", cause=failure_words(link.failure, say), data=data, wait=f"{wait:.0f}")
        return paint.text((f" ✗ {words}", "bad"))
    refused = snapshot.key_failure()
    if refused is None:
        return None
    if refused.cause == "no_key":
        return paint.text((f" ▲ {say('banner_no_key')}", "wait"))
    if refused.cause in ("forbidden", "busy"):
        scopes = ", ".join(snapshot.missing_scopes)
        words = say("banner_scope", scopes=scopes) if scopes else say("banner_key", cause=failure_words(refused, say))
        return paint.text((f" ▲ {words}", "wait"))
    words = say("banner_key_refused", cause=failure_words(refused, say))
    return paint.text((f" ✗ {words}", "bad"))
