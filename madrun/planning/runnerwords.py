"""The user's own words for the runner, and the range of nodes of an elastic one, against what the plan says."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from madrun.errors import CardError, ContextError
from madrun.planning.runnerfile import RunnerFile, check_file, words_of_file
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.plan import JobPlan
from madrun.spec.topology import Topology

_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_ELASTIC = re.compile(r"([0-9]{1,6}):([0-9]{1,6})")
_KEYS = {
    "NNODES": ("nnodes", "num_nodes", "num_machines"),
    "NPROC_PER_NODE": ("nproc_per_node", "num_gpus", "num_accelerators"),
    "NNODES and NPROC_PER_NODE": ("np", "n", "c", "num_processes"),
    "NODE_RANK": ("node_rank", "machine_rank"),
    "MASTER_ADDR": ("master_addr", "main_process_ip"),
    "MASTER_PORT": ("master_port", "main_process_port"),
    "MASTER_ADDR and MASTER_PORT": ("rdzv_endpoint",),
    "CONFIG_FILE": ("config_file",),
    "ELASTIC": ("rdzv_backend", "rdzv_id"),
    "HOST_LIST": ("host", "hosts", "H", "hostfile", "machinefile", "f", "default_hostfile"),
}
_KEY_OF = {name: key for key, names in _KEYS.items() for name in names}
# What may name a configuration of DeepSpeed among a script's arguments: DeepSpeed's own, and that of HF's Trainer.
_NAMING = ("--deepspeed_config", "--deepspeed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerWords:
    """`args`: words behind the runner's own; `config`: name in the box and hash of its file; `elastic`: `MIN:MAX`."""

    args: tuple[str, ...] = ()
    config: str = ""
    elastic: str = ""


def runner_words(args: MultiNodeArgs, topology: Topology, vendor: str, file: RunnerFile | None) -> RunnerWords:
    """What the job says of its runner; `ContextError` where that contradicts the plan, or reaches no runner."""
    words = _user_words(args)
    elastic = _elastic(args, topology.nnodes)
    if file is None:
        return RunnerWords(args=words, elastic=elastic)
    check_file(file, args, topology, vendor)
    derived = tuple(word for word in words_of_file(file, args.RUNNER) if word not in words)
    return RunnerWords(args=(*derived, *words), config=f"{file.box_name}:{file.digest}", elastic=elastic)


def _user_words(args: MultiNodeArgs) -> tuple[str, ...]:
    said = args.RUNNER_ARGS or ""
    try:
        words = tuple(shlex.split(said))
    except ValueError as error:
        what = "a backslash at the end" if "escaped" in str(error) else "an unbalanced quote"
        raise ContextError(f"multi_node_args.RUNNER_ARGS: found {what}: {said[:60]!r}; allowed: plain words") from None
    if words and args.RUNNER == "script":
        raise ContextError(
            f"multi_node_args.RUNNER_ARGS: found {said[:60]!r} with RUNNER 'script', which starts no program that "
            "could take them; write them in the script, or choose another RUNNER"
        )
    for word in words:
        _check_word(word, args.RUNNER)
    return words


def _check_word(word: str, runner: str) -> None:
    """The text is expanded without quotes in scripts, so that no word may be split, replaced or read as shell."""
    bad = next((letter for letter in word if not _WORD.fullmatch(letter)), "")
    if not word or bad:
        what = f"which holds {_named(bad)}" if bad else "an empty word"
        raise ContextError(
            f"multi_node_args.RUNNER_ARGS: found {word!r}, {what}: scripts expand $MULTI_NODE_RUNNER without quotes; "
            "allowed in a word: letters, digits and _ @ % + = : , . / -"
        )
    option = word.partition("=")[0]
    owned = next((own for own in RUNNERS[runner].owns if _means(option, own, RUNNERS[runner].head)), "")
    if owned:
        key = _KEY_OF.get(owned.lstrip("-").replace("-", "_"), "")
        key = "NNODES" if key == "HOST_LIST" and not RUNNERS[runner].head else key
        way = f"set multi_node_args.{key}, and leave it out here" if key else "leave it out: madrun sees to it"
        short = "" if option == owned else f", short for {owned}" if owned.startswith(option) else f", that is {owned}"
        raise ContextError(
            f"multi_node_args.RUNNER_ARGS: found {word!r}{short}, which would contradict the plan of RUNNER "
            f"{runner!r}; {way}"
        )


def _named(letter: str) -> str:
    if letter.isspace():
        return "a blank"
    if letter in "*?[]":
        return f"{letter!r}, which a shell replaces by names of files"
    return "a quote" if letter in "'\"" else repr(letter)


def _means(option: str, own: str, exact: bool) -> bool:
    """Whether the option is the runner's own: in either spelling, shortened, or with its value attached."""
    said, known = (f"--{text[2:].replace('-', '_')}" if text.startswith("--") else text for text in (option, own))
    if said == known:
        return True
    if exact or not option.startswith("-"):
        return False
    if own.startswith("--"):
        return len(said) > 3 and said.startswith("--") and known.startswith(said)
    return len(own) == 2 and option.startswith(own) and not option.startswith("--")


def _elastic(args: MultiNodeArgs, nnodes: int) -> str:
    if args.ELASTIC is None:
        return ""
    where = f"multi_node_args.ELASTIC: found {args.ELASTIC!r}"
    if not RUNNERS[args.RUNNER].elastic:
        able = ", ".join(name for name, runner in RUNNERS.items() if runner.elastic)
        raise ContextError(
            f"{where} with RUNNER {args.RUNNER!r}, which has a fixed number of nodes; allowed with: {able}"
        )
    match = _ELASTIC.fullmatch(args.ELASTIC)
    least, most = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= least <= nnodes <= most:
        raise ContextError(f"{where}, allowed: 'MIN:MAX' with 1 <= MIN <= NNODES <= MAX, and NNODES is {nnodes}")
    return f"{least}:{most}"


def runner_notes(job: JobPlan) -> tuple[str, ...]:
    """What a reader of the plan should know of an elastic range of nodes."""
    if not job.elastic:
        return ()
    notes = [
        f"ELASTIC {job.elastic}: torchrun numbers the nodes itself (c10d), so that a rank may run on another node than "
        f"NODE_RANK says; a node that is lost ends the run, for its number is one of {job.nnodes} nodes"
    ]
    if job.elastic != f"{job.nnodes}:{job.nnodes}" and int(job.elastic.partition(":")[2]) > job.nnodes:
        notes.append(
            f"ELASTIC {job.elastic}: no more than NNODES {job.nnodes} nodes join, so torchrun waits 30 s for more "
            "(its last_call_timeout) before the ranks start"
        )
    return tuple(notes)


def check_named_configs(card: Card, context: Context, args: str, files: tuple[str, ...]) -> None:
    """A configuration of DeepSpeed that a native card's arguments name lies among its files; else an error.

    Absolute paths and words that a shell fills in are the script's own affair. `ContextError` where the words are the
    context's, else `CardError`.
    """
    if card.mad is not None:
        return
    for option, name in _configs(args):
        if posixpath.isabs(name) or set(name) & set("$`*?[") or posixpath.normpath(name) in files:
            continue
        text = (
            f"args: {option} names {name}, which is not among the card's files; add it to `files:` of the card, put it "
            "into the card's folder, or give its absolute path in the container"
        )
        if context.model_args is not None or name in " ".join(context.more_args):
            raise ContextError(text)
        raise CardError(f"{card.source}: {text}")


def _configs(args: str) -> Iterator[tuple[str, str]]:
    for word, following in pairwise([*shlex.split(args), ""]):
        option, equals, value = word.partition("=")
        if option not in _NAMING:
            continue
        name = value if equals else following
        # `--deepspeed` alone is DeepSpeed's switch; with a file it is that of HF's Trainer.
        if name and not name.startswith("-") and (option == _NAMING[0] or name.endswith(".json")):
            yield option, name
