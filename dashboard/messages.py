"""Every message that travels inside the dashboard, with what it means."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from dashboard.snapshots import Part, Snapshot


@dataclass(frozen=True, slots=True)
class Target:
    """Where something can be looked at: a screen, and the filter or the order to open there."""

    screen: str
    filter: str = ""
    out_trade_no: str = ""


class SnapshotFetched(Message):
    """The poller finished a tick; a slow screen may skip to the newest."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """Only the newest snapshot matters."""
        return isinstance(message, SnapshotFetched)


class PageFetched(Message):
    """A further page of a list arrived, asked with `cursor`."""

    def __init__(self, part: Part, cursor: str) -> None:
        super().__init__()
        self.part = part
        self.cursor = cursor


class JumpAsked(Message):
    """The operator wants to see the subject of an attention entry or an alert."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target


class FilterChanged(Message):
    """The filter bar has a new text, to be applied now."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class FilterClosed(Message):
    """The filter bar was left; focus returns to the list."""


class NavigationAsked(Message):
    """A screen was chosen in the navigation bar with the mouse."""

    def __init__(self, screen: str) -> None:
        super().__init__()
        self.screen = screen
