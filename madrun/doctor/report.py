"""What `madrun doctor` has found on the nodes, and what follows from it; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from madrun.errors import ExitCode
from madrun.node.channel.assembly import ranges
from madrun.spec.codec import to_plain
from madrun.spec.finding import Finding, State

FORMAT = 1
STATES: tuple[State, ...] = ("FAIL", "WARN", "UNKNOWN", "PASS")
_MOST, _LONGEST = 120, 1500  # findings of a node, and characters of one text: what goes over the control channel
_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What was found on one node, and what all nodes found out about it."""

    rank: int
    hostname: str
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """`node 1 (n1)`."""
        return f"node {self.rank} ({self.hostname})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that one node knows at the end: node 0 of every node, another node of itself and of the whole.

    `together`: what is found of all nodes as one. `overall`: node 0's last line, where another node was told it.
    """

    card: str
    madrun: str
    nodes: tuple[NodeReport, ...]
    together: tuple[Finding, ...] = ()
    overall: str = ""
    code: int | None = None

    @property
    def findings(self) -> list[Finding]:
        """Of every node and of all as one."""
        return [*(finding for node in self.nodes for finding in node.findings), *self.together]

    @property
    def exit_code(self) -> int:
        """0 without any FAIL, else 3; where node 0 has said it of all nodes, that."""
        own = exit_code(self.findings)
        return own if self.code is None else max(own, self.code)


def exit_code(findings: Iterable[Finding]) -> int:
    """What `madrun doctor` ends with: 3 where anything failed. What is not known is no failure, and no success."""
    return int(ExitCode.RUN_FAILED if any(finding.state == "FAIL" for finding in findings) else ExitCode.OK)


def counted(findings: Sequence[Finding]) -> str:
    """`2 FAIL, 1 WARN, 1 UNKNOWN, 24 PASS`, without those that there are none of."""
    found = Counter(finding.state for finding in findings)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state]) or "nothing looked at"


def overall_line(examination: Examination) -> str:
    """`overall: FAIL: 2 FAIL, 1 UNKNOWN, 40 PASS; failed: host name on node 1; not known: PCI ACS on node 0-1`."""
    findings = examination.findings
    worst = next((state for state in STATES if any(finding.state == state for finding in findings)), "UNKNOWN")
    named = [f"; {word}: {some}" for state, word in _WORDS if (some := _places(examination, state))]
    return f"overall: {worst}: {counted(findings)}{''.join(named)}"


_WORDS: tuple[tuple[State, str], ...] = (("FAIL", "failed"), ("UNKNOWN", "not known"))


def _places(examination: Examination, state: State) -> str:
    """The names of what is in this state, with the nodes where it is."""
    found: dict[str, set[int]] = {}
    for node in examination.nodes:
        for finding in node.findings:
            if finding.state == state:
                found.setdefault(finding.name, set()).add(node.rank)
    texts = [f"{name} on node {ranges(ranks)}" for name, ranks in found.items() if ranks]
    texts += [finding.name for finding in examination.together if finding.state == state]
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def bounded(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings as they go to other nodes: the worst first where there are too many, and no text without an end."""
    kept = list(findings)
    if len(kept) > _MOST:
        kept = sorted(kept, key=lambda finding: STATES.index(finding.state))[:_MOST]
    return tuple(
        replace(finding, text=_short(finding.text), advice=_short(finding.advice), source=_short(finding.source))
        for finding in kept
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def document(examination: Examination) -> dict[str, Any]:
    """What `--json` prints: findings by node, those of all nodes as one, and counts."""
    findings = examination.findings
    counts = Counter(finding.state for finding in findings)
    return {
        "format": FORMAT,
        "madrun": examination.madrun,
        "card": examination.card,
        "nodes": to_plain(examination.nodes),
        "together": to_plain(examination.together),
        "overall": {
            "exit_code": examination.exit_code,
            "counts": {state: counts[state] for state in STATES},
            "text": examination.overall or overall_line(examination),
        },
    }
