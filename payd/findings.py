"""What a check found: one thing each, with its cause and its cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from payd.errors import Complaint


class Level(StrEnum):
    """How bad it is. Only a problem changes the exit code."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. ``check`` names it (a key of the configuration, where one is to blame)."""

    level: Level
    check: str
    cause: str
    cure: str | None = None

    def view(self) -> dict[str, Any]:
        """Show it as plain JSON values."""
        return {"level": self.level.value, "check": self.check, "cause": self.cause, "cure": self.cure}


def ok(check: str, said: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(Level.OK, check, said)


def note(check: str, cause: str, cure: str | None = None) -> Finding:
    """Make a finding that somebody should know of."""
    return Finding(Level.NOTE, check, cause, cure)


def problem(check: str, cause: str, cure: str | None = None) -> Finding:
    """Make a finding that must be mended."""
    return Finding(Level.PROBLEM, check, cause, cure)


def of_complaints(complaints: Iterable[Complaint]) -> list[Finding]:
    """Make problems of complaints; what stands behind a semicolon there is the cure."""
    findings = []
    for complaint in complaints:
        cause, _, cure = complaint.issue.partition("; ")
        findings.append(problem(complaint.field or "configuration", cause, cure or None))
    return findings


def has_problem(findings: Iterable[Finding]) -> bool:
    """Tell whether anything must be mended."""
    return any(finding.level is Level.PROBLEM for finding in findings)
