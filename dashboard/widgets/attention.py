"""The list of what needs a person; enter on an entry goes to its subject."""

from __future__ import annotations

from textual.widgets import OptionList
from textual.widgets.option_list import Option

from dashboard.findings import CRITICAL, GLYPHS, Finding
from dashboard.messages import JumpAsked, Target
from dashboard.themes import Paint
from dashboard.wording import Wording


def finding_words(finding: Finding, say: Wording) -> str:
    """A finding in a sentence."""
    return say(f"finding_{finding.id}", **dict(finding.values))


class AttentionList(OptionList):
    """Shows findings; keeps the highlighted one across updates."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="panel", compact=True, markup=False)
        self._targets: list[Target | None] = []
        self._shown: tuple[tuple[str, str], ...] = ()

    def show(self, findings: tuple[Finding, ...], *, known: bool, say: Wording, paint: Paint) -> None:
        """Draw the findings; `known` is False before the first answer, when silence proves nothing."""
        entries = [
            (
                f"{GLYPHS[finding.severity]} {say(f'severity_{finding.severity}')}  {finding_words(finding, say)} ›",
                "bad" if finding.severity == CRITICAL else "wait",
            )
            for finding in findings
        ]
        if not entries:
            entries = [(f"✓ {say('attention_none')}", "good") if known else (say("attention_unknown"), "dim")]
        shown = tuple(entries)
        if shown == self._shown:
            return
        highlighted = self.highlighted
        self._shown = shown
        self._targets = [finding.target for finding in findings] or [None]
        self.set_options([Option(paint.text(entry)) for entry in entries])
        self.highlighted = min(highlighted or 0, len(entries) - 1)

    def forget(self) -> None:
        """Draw anew at the next `show`, whatever it brings (the theme changed)."""
        self._shown = ()

    def set_age(self, words: str) -> None:
        """Write the age into the lower border."""
        if self.border_subtitle != words:
            self.border_subtitle = words

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or click: go there."""
        event.stop()
        target = self._targets[event.option_index]
        if target is not None:
            self.post_message(JumpAsked(target))
