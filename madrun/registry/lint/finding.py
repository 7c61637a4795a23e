"""What a rule is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Severity = Literal["error", "warning"]
Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where a rule applies: file relative to the repository, line from 1, what stands there, whose it is."""

    file: str
    line: int
    found: str
    cards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A hit as it is reported; `advice` says what to do."""

    rule: str
    severity: Severity
    file: str
    line: int
    cards: tuple[str, ...]
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """One rule; `check` yields a hit for each place. The id is what `# madrun: ignore ID` names, and never changes."""

    id: str
    severity: Severity
    advice: str
    check: Callable[[Subject], Iterable[Hit]]

    def of(self, hit: Hit) -> Finding:
        """The hit as a finding of this rule."""
        return Finding(
            rule=self.id,
            severity=self.severity,
            file=hit.file,
            line=hit.line,
            cards=hit.cards,
            found=hit.found,
            advice=self.advice,
        )
