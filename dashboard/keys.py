"""The table of keys, for the help screen and the README: key, wording key, and where it works."""

from __future__ import annotations

KEYS: tuple[tuple[str, str, str], ...] = (
    ("1-9", "screens", "everywhere"),
    ("enter", "details", "lists"),
    ("esc", "back", "everywhere"),
    ("/", "filter", "lists"),
    ("f", "state", "lists"),
    ("F", "faults", "lists"),
    ("s/S", "sort", "lists"),
    ("w", "wide", "lists"),
    ("j/k", "scroll", "lists"),
    ("g/G", "ends", "lists"),
    ("c", "copy_id", "lists"),
    ("y", "copy_json", "lists"),
    ("e", "export", "lists"),
    ("o", "open", "everywhere"),
    ("space", "pause", "everywhere"),
    ("r", "refresh", "everywhere"),
    ("R", "interval", "everywhere"),
    ("m", "maximise", "everywhere"),
    ("tab", "panel", "everywhere"),
    ("t", "theme", "everywhere"),
    ("a", "acknowledge", "alerts"),
    ("B", "refund", "order"),
    ("X", "close", "order"),
    ("N", "resend", "webhooks"),
    ("V", "resolve", "reconcile"),
    ("ctrl+p", "palette", "everywhere"),
    ("?", "help", "everywhere"),
    ("q", "quit", "everywhere"),
)
CHANGING = frozenset({"refund", "close", "resend", "resolve"})
"""Keys that change something at the daemon."""
