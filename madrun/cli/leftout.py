"""Cards that are selected and not run: skipped because they ask for it, or impossible to plan. Each gets its row."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from madrun import __version__
from madrun.cli.request import Request
from madrun.cli.shownpath import shown_path
from madrun.errors import BuildError, CardError, DataError, ExitCode, MadrunError
from madrun.probe.environment import forwarded_secrets
from madrun.registry.selection import broken_of
from madrun.results import perfcsv, rundir
from madrun.results.rundir import RunDir
from madrun.spec.card import Card
from madrun.spec.context import Context, is_secret
from madrun.spec.facts import Accelerator, HostFacts
from madrun.spec.masking import without_secrets
from madrun.spec.record import FORMAT, Failure, Record

NO_PLAN = "noplan"  # stands in a run's id where the beginning of the plan's hash would
_KINDS: tuple[tuple[type[MadrunError], str], ...] = ((DataError, "data"), (BuildError, "image"), (CardError, "card"))
_OF_THE_CARD = ("usage", *(kind for _, kind in _KINDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A card that is selected and not run. `kind` is empty for one that is skipped; `reason` is told to the user."""

    name: str
    reason: str
    kind: str = ""
    card: Card | None = None
    context: Context | None = None

    @property
    def status(self) -> str:
        """SKIPPED where the card or the user asked for it, else FAILURE."""
        return "FAILURE" if self.kind else "SKIPPED"

    @property
    def exit_code(self) -> ExitCode:
        """What a command ends with for this card."""
        if self.kind in _OF_THE_CARD:
            return ExitCode.USAGE
        return ExitCode.RUN_FAILED if self.kind else ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A card that was left out, with its run directory; None on a node that writes none."""

    left_out: LeftOut
    run: RunDir | None = None
    record: Record | None = None
    warning: str = ""


def why_skipped(card: Card, request: Request, accelerator: Accelerator) -> str:
    """Why this card is not to be run on such a GPU, or at all; empty where nothing speaks against it."""
    if card.mad is None:
        return ""
    options = request.repository
    if card.mad.is_deprecated and not options.ignore_deprecated:
        return "is_deprecated: the card is marked as deprecated; --ignore-deprecated runs it"
    if options.disable_skip_gpu_arch:
        return ""
    found = next((name for name in card.mad.skip_gpu_arch if name.lower() in _names_of(accelerator)), "")
    if not found:
        return ""
    here = accelerator.model or accelerator.arch
    return f"skip_gpu_arch: the card is not to be run on {found}, and this is {here}; --disable-skip-gpu-arch runs it"


def _names_of(accelerator: Accelerator) -> set[str]:
    """What skip_gpu_arch may call the GPU, in lower case: its architecture, its product, a word of its product."""
    arch, model = accelerator.arch.lower(), accelerator.model.lower()
    return {arch, arch.partition(":")[0], model, *re.split(r"[\s-]+", model)} - {""}


def failed(name: str, error: MadrunError, card: Card | None = None, context: Context | None = None) -> LeftOut:
    """The card as one that cannot be run because of this error."""
    kind = next((kind for of, kind in _KINDS if isinstance(error, of)), "usage")
    return LeftOut(name=name, reason=str(error), kind=kind, card=card, context=context)


def not_reached(card: Card, context: Context, why: str, kind: str = "") -> LeftOut:
    """The card as one whose turn did not come; `kind` where that is a failure of the command, else it was skipped."""
    said = why if kind and kind != "interrupted" else f"not run, the command ended before its turn: {why}"
    return LeftOut(name=card.name, reason=said, kind="" if kind == "interrupted" else kind, card=card, context=context)


def from_broken(errors: Iterable[CardError], tags: Iterable[str], repository: Path) -> list[LeftOut]:
    """The cards that were asked for and cannot be read; a file stands for those in it."""
    return [
        failed(getattr(error, "card", "") or _file_of(error, repository), error) for error in broken_of(errors, tags)
    ]


def _file_of(error: CardError, repository: Path) -> str:
    """The file that the text of the error begins with, relative to the repository, as a name."""
    file = str(error).partition(":")[0]
    name = os.path.relpath(file, repository) if Path(file).is_absolute() else file
    return name if len(name) < 200 and "\n" not in name else "card"  # it is part of a directory's name


def write(request: Request, one: LeftOut, facts: HostFacts, provenance: dict[str, str]) -> Written:
    """Gives the card its run directory, record and row; on another node than node 0 it only says what is left out."""
    nodes = one.context.multi_node_args if one.context else None
    if nodes is not None and nodes.NODE_RANK != 0:
        return Written(left_out=one)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    run = rundir.create(request.results, re.sub(r"[^A-Za-z0-9._+-]", "_", one.name), NO_PLAN)
    secrets = _secrets(one)
    (reason,) = without_secrets((one.reason,), secrets)
    first = reason.partition("\n")[0]
    record = Record(
        format=FORMAT,
        run_id=run.run_id,
        card=one.name,
        status="FAILURE" if one.kind else "SKIPPED",
        valid=False,
        reasons=(f"{one.kind}: {first}" if one.kind else first,),
        exit_code=int(one.exit_code),
        started_at=now,
        ended_at=now,
        plan_hash="",
        madrun=__version__,
        command=without_secrets(request.command, secrets),
        tags=one.card.tags if one.card else (),
        args=one.card.args if one.card else "",
        runner=nodes.RUNNER if nodes else "",
        runtime="",
        backend="local",
        nnodes=nodes.NNODES if nodes else 1,
        nproc_per_node=(nodes.NPROC_PER_NODE if nodes else None) or _gpus(one.card, facts),
        vendor=facts.accelerator.vendor,
        culprit=Failure(kind=one.kind, text=reason, node=0) if one.kind else None,
        provenance=provenance,
    )
    warning = ""
    try:
        run.journal("begin", run_id=run.run_id, command=list(record.command))
        perfcsv.mark(request.results, run.run_id)
        run.write_record(record)
        run.journal("record", status=record.status, exit_code=record.exit_code)
        perfcsv.append(request.results, run, record)
    except OSError as error:
        warning = f"{run.path} could not be written whole: {error.strerror}; free space, or name another --results"
    return Written(left_out=one, run=run, record=record, warning=warning)


def _secrets(one: LeftOut) -> dict[str, str]:
    """What of the host and of the context no file may show."""
    said = {**one.context.docker_env_vars, **one.context.docker_build_arg} if one.context else {}
    return forwarded_secrets() | {name: value for name, value in said.items() if is_secret(name)}


def _gpus(card: Card | None, facts: HostFacts) -> int:
    """How many processes a node would have had."""
    return (card.gpus_per_node if card else None) or facts.accelerator.count or 1


def lines_of(written: Written) -> list[str]:
    """What a user reads of a card that was left out."""
    one = written.left_out
    first, *rest = one.reason.splitlines() or [""]
    lines = [f"{one.status} {one.name}", f"  {one.kind}: {first}" if one.kind else f"  {first}"]
    lines += [f"  {line}" for line in rest]
    lines += [f"  warning: {written.warning}"] if written.warning else []
    return [*lines, f"  {shown_path(written.run.path)}"] if written.run else lines


def nothing_measured(statuses: Iterable[str], on_purpose: bool) -> list[str]:
    """The line for a command of which every card was skipped; nothing where one was run or failed."""
    found = list(statuses)
    if not found or any(status != "SKIPPED" for status in found):
        return []
    cards = f"{len(found)} cards" if len(found) > 1 else "1 card"
    how = "as --skip-model-run asks" if on_purpose else f"so this command ends with exit code {ExitCode.RUN_FAILED}"
    return [f"NOTHING WAS MEASURED: {cards} SKIPPED, {how}"]
