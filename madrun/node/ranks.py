"""What the ranks of one node left behind: a log of each, and which of them failed first."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from madrun.node.console import Console, last_lines
from madrun.node.workspace import Workspace
from madrun.results.regular import NotRegular, open_regular
from madrun.spec.record import UNCLASSIFIED, Failure, NodeOutcome, RankEnd

_NAME = re.compile(r"rank-(\d{1,7})\.(log|end)")
_END = re.compile(
    r"(?P<at>\d{1,12}\.\d{1,9}) (?P<code>-?\d{1,3}) (?P<launch>\d+\.\d+(?:\.\d{1,7}\+?)?)(?: (?P<problem>.+))?"
)
_READ = 1 << 20
_MOST_ENDS = 1 << 20  # bytes of one rank's ends that are looked at
_VICTIM_S = 5.0  # a victim's end may be noted this long before that of its cause


def keep_ranks(space: Workspace, secrets: Iterable[str], stays: bool = False) -> list[str]:
    """Brings the ranks' files out of the box, secrets masked; findings on what could not be kept whole.

    Only files of the names that madrun gave are taken, and only regular ones: a script can write there too. A box that
    stays is copied from.
    """
    hidden = tuple(secrets)
    findings = []
    for name in _names(space.boxed_ranks):
        source, target = space.boxed_ranks / name, space.ranks / name
        try:
            space.ranks.mkdir(exist_ok=True)
            with open_regular(source) as file:
                if stays or hidden:
                    _copy_masked(file.fileno(), target, hidden)
                else:
                    source.rename(target)
                    target.chmod(0o644)
            if not stays:
                source.unlink(missing_ok=True)
        except NotRegular:
            continue
        except OSError as error:
            findings.append(f"{source} could not be kept: {error.strerror or error}; console.log has it")
    return findings


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))  # noqa: PTH208 - names alone
    except OSError:
        return []


def _copy_masked(source: int, target: Path, hidden: tuple[str, ...]) -> None:
    with suppress(FileNotFoundError):
        target.unlink()
    copy = Console(target, hidden)
    while chunk := os.read(source, _READ):
        copy.write(chunk)
    copy.close()
    if copy.error:
        raise OSError(copy.error)


def parse_ends(text: str, rank: int) -> list[tuple[str, RankEnd, str]]:
    """Launch, end and what the log lacks, for each whole line that a rank's end was noted in."""
    found = []
    for line in text.split("\n"):
        match = _END.fullmatch(line)
        if match:
            end = RankEnd(rank=rank, at=float(match["at"]), exit_code=int(match["code"]))
            found.append((match["launch"], end, match["problem"] or ""))
    return found


def last_to_fail(ends: Iterable[tuple[str, RankEnd]]) -> list[RankEnd]:
    """The ranks that failed in the last launch in which any did, by time; earlier ones were got over."""
    launches: dict[str, list[RankEnd]] = {}
    for launch, end in ends:
        if end.exit_code != 0:
            launches.setdefault(launch, []).append(end)
    failed = [sorted(some, key=lambda end: (end.at, end.rank)) for some in launches.values()]
    return max(failed, key=lambda some: some[0].at, default=[])


def first_to_fail(times: Mapping[int, float], ends: Mapping[int, RankEnd]) -> int:
    """The key of the end that caused the others, of at least one: the first in time.

    One of which the words say that another rank was lost gives way to one of words of its own that came soon after: a
    connection breaks when a rank begins to end, and a victim may be quicker in ending.
    """
    soon = min(times.values()) + _VICTIM_S
    return min((key for key in times if times[key] <= soon), key=lambda key: (_is_victim(ends[key]), times[key], key))


def _is_victim(end: RankEnd) -> bool:
    from madrun.results import causes

    if end.exit_code == -signal.SIGTERM:
        return True  # that is how a launcher ends the ranks that still run
    cause = causes.classify(end.last_lines, 128 - end.exit_code if end.exit_code < 0 else None)
    return cause is not None and cause.collateral


def read_ranks(folder: Path) -> tuple[RankEnd | None, list[str]]:
    """The rank that failed first, with its last lines, and notes on logs that are not whole; of kept files."""
    ends, notes = [], []
    for name in _names(folder):
        if not name.endswith(".end"):
            continue
        rank = name.removeprefix("rank-").removesuffix(".end")
        with suppress(OSError, NotRegular), open_regular(folder / name) as file:
            for launch, end, problem in parse_ends(file.read(_MOST_ENDS).decode("utf-8", "replace"), int(rank)):
                ends.append((launch, end))
                if problem:
                    notes.append(f"{folder.name}/rank-{rank}.log is not complete: {problem}; console.log has all of it")
    failed = last_to_fail(ends)
    near = [end for end in failed if end.at <= failed[0].at + _VICTIM_S]
    told = {end.rank: replace(end, last_lines=last_lines(folder / f"rank-{end.rank}.log")) for end in near}
    times = {rank: end.at for rank, end in told.items()}
    return told[first_to_fail(times, told)] if told else None, notes


def unended(folder: Path) -> list[str]:
    """A line for each rank that printed to a log and never told how it ended; of kept files."""
    names = _names(folder)
    logs = [name.removesuffix(".log") for name in names if name.endswith(".log")]
    return [
        f"{name.replace('-', ' ')} did not end by itself: it still ran when the script had ended, or was killed "
        f"together with what had started it"
        for name in logs
        if f"{name}.end" not in names
    ]


def with_rank(
    failure: Failure, outcomes: Iterable[NodeOutcome], offsets: Mapping[str, float | None], head: bool = False
) -> Failure:
    """The failure put down to the rank that ended first, where a rank is what failed.

    A failure of which the words say that it caused the others stays with its node. Else the rank counts that ended
    first on any node; a node's clock counts where its offset is known. `head`: node 0 started the ranks of all nodes,
    so that those of others count also where none of its own failed; not those that ended after its script had.
    """
    from madrun.results import causes

    told = {outcome.node: outcome for outcome in outcomes}
    ends = {node: outcome.first_rank for node, outcome in told.items() if outcome.first_rank is not None}
    times = {node: end.at - offset for node, end in ends.items() if (offset := offsets.get(str(node))) is not None}
    if head and failure.node == 0:
        times = {node: at for node, at in times.items() if at <= _script_ended(told[0])}
    if failure.exit_code is None or (failure.node not in ends and not (head and times)):
        return failure  # the script failed without a rank, or was ended from outside
    # What started all ranks ends as any of them did: its signal is no word of its own node's.
    root = causes.is_root(failure) and not (head and failure.kind == "killed")
    moves = (head or failure.node in times) and bool(times) and not root
    if not moves and failure.node not in ends:
        return failure
    node = first_to_fail(times, ends) if moves else failure.node
    end = ends[node]
    own = told[node].failure or failure  # what was found out there counts, and not what was seen from elsewhere
    failure = own if causes.is_root(own) and not (head and moves) else _as_said(end, own)
    _, *advice = failure.text.split("\n")
    return replace(
        failure,
        text="\n".join([_sentence(end, node), *advice]),
        node=node,
        rank=end.rank,
        exit_code=end.exit_code,
        last_lines=end.last_lines or failure.last_lines,
    )


def _script_ended(outcome: NodeOutcome) -> float:
    """When the node's script, and what is run around it, had ended by its own clock; infinity where nobody knows."""
    seconds = outcome.timings.get("script")
    return outcome.started_at + seconds if outcome.started_at and seconds else float("inf")


def _as_said(end: RankEnd, failure: Failure) -> Failure:
    """The failure as the rank's own last lines tell it: in the console those of its victims stand among them."""
    from madrun.results import causes

    plain = replace(failure, kind=UNCLASSIFIED, text="")
    return causes.refined(plain, causes.classify(end.last_lines, 128 - end.exit_code if end.exit_code < 0 else None))


def _sentence(end: RankEnd, node: int) -> str:
    how = f"by signal {_signal(-end.exit_code)}" if end.exit_code < 0 else f"with exit code {end.exit_code}"
    return f"rank {end.rank} (node {node}) ended first, {how}"


def _signal(number: int) -> str:
    """The number of a signal with its name, where it has one."""
    with suppress(ValueError):
        return f"{number} ({signal.Signals(number).name})"
    return str(number)
