"""On which nodes the next attempt of a case is run, in words of `madrun run`; bad nodes are avoided."""

from __future__ import annotations

from dataclasses import dataclass

from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.words import words_of
from madrun.suites.nodes import avoidable, choose
from madrun.suites.suite import Case, Suite
from madrun.suites.sweep import NNODES


@dataclass(frozen=True, slots=True)
class Place:
    """`words` say it to `madrun run`; `hosts` by rank, empty where the backend chooses them."""

    words: tuple[str, ...]
    nnodes: int
    hosts: tuple[str, ...] = ()


def place_of(suite: Suite, case: Case, bad: dict[str, str], available: int | None) -> Place:
    """Where the case goes now. `available`: how many nodes there are in all, None where nobody knows."""
    if not suite.backend:
        return Place(("--set", f"{NNODES}={case.nnodes}") if case.nnodes else (), case.nnodes or 1)
    words = ["--on", suite.backend, *words_of(LaunchOptions(**suite.launch))]
    if suite.hosts:
        wanted = case.nnodes or len(suite.hosts)
        entries = {entry.partition(" ")[0]: entry for entry in suite.hosts}
        hosts = choose(entries, bad, wanted)
        lines = [entries[host] for host in hosts]
        text = ",".join(lines) if lines == list(hosts) else "".join(f"{line}\n" for line in lines)
        return Place((*words, "--hosts", text, "--nodes", str(wanted)), wanted, hosts)
    words += ["--nodes", str(case.nnodes)] if case.nnodes else []
    wanted = case.nnodes or available or 1
    if suite.backend == "slurm":
        left_out = [*([suite.exclude] if suite.exclude else []), *avoidable(bad, wanted, available)]
        words += ["--exclude", ",".join(left_out)] if left_out else []
    return Place(tuple(words), wanted)


def has_others(suite: Suite, case: Case, bad: dict[str, str], available: int | None) -> bool:
    """Whether the case can be run without any of the bad nodes."""
    if suite.hosts:
        good = [entry for entry in suite.hosts if entry.partition(" ")[0] not in bad]
        return len(good) >= (case.nnodes or len(suite.hosts))
    return suite.backend == "slurm" and len(avoidable(bad, case.nnodes or available or 1, available)) == len(bad)
