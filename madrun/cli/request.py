"""What a user asked for, as one frozen value."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from madrun.cli.madoptions import BuildFiles, RepositoryOptions, RunFiles
from madrun.errors import UsageError
from madrun.spec.launch import COMMAND, LAUNCH, PREFIX

if TYPE_CHECKING:
    from madrun.cli.options import RunOptions

_OF_THE_CONTEXT = ("force_mirror_local", "timeout", "runtime", "join_timeout", "stall_timeout", "local_data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The words of a `run`, `plan` or `explain` command; `flags` are those that belong to the context.

    `saved` names the plan that is to be repeated, None where the plan is made from cards.
    """

    tags: tuple[str, ...]
    repo: str | None
    results: Path
    additional_context: str | None
    additional_context_file: str | None
    site: str | None
    env: tuple[str, ...]
    mount: tuple[str, ...]
    arg: tuple[str, ...]
    set_key: tuple[str, ...] = ()
    flags: dict[str, Any]
    command: tuple[str, ...]
    saved: str | None = None
    repository: RepositoryOptions = RepositoryOptions()
    files: RunFiles = RunFiles()
    building: BuildFiles = BuildFiles()


def make_request(options: RunOptions, saved: str | None = None, **more: Any) -> Request:
    """Checks what needs no file: at least one tag, or a saved plan and nothing that is part of it."""
    from madrun.registry.tags import split_tags

    more = _for_this_node(more)
    words = tuple(split_tags(options.tags or []))
    if saved is not None:
        _refuse_parts_of_the_plan(options)
    elif not words and not _says_which(more):
        raise UsageError("--tags: nothing is selected; allowed: names or tags of cards (madrun list shows them)")
    flags = {name: getattr(options, name) for name in _OF_THE_CONTEXT}
    return Request(
        tags=words,
        repo=options.repo,
        results=Path(options.results).absolute(),
        additional_context=options.additional_context,
        additional_context_file=options.additional_context_file,
        site=options.site,
        env=tuple(options.env or ()),
        mount=tuple(options.mount or ()),
        arg=tuple(options.arg or ()),
        set_key=tuple(options.set_key or ()),
        flags={name: value for name, value in flags.items() if value is not None and not _is_unsaid(name, value)},
        command=_typed(),
        saved=saved,
        **more,
    )


def _for_this_node(more: dict[str, Any]) -> dict[str, Any]:
    """All nodes of a launch are given the same words; files beside the run directory are node 0's to write."""
    files = more.get("files")
    if files is None or not os.environ.get(LAUNCH) or os.environ.get(f"{PREFIX}NODE_RANK", "0") == "0":
        return more
    return more | {"files": replace(files, output=None, summary_output=None, manifest_output=None)}


def _typed() -> tuple[str, ...]:
    """What the user typed: here, or where the launch was started of which this is one node's part."""
    said = os.environ.get(COMMAND) if os.environ.get(LAUNCH) else None
    return tuple(json.loads(said)) if said else (_program(), *sys.argv[1:])


def _says_which(more: dict[str, Any]) -> bool:
    """Whether a manifest names the cards, so that tags only narrow them."""
    repository, building = more.get("repository"), more.get("building")
    return bool(repository and repository.manifest_file) or bool(building and building.batch_manifest)


def _is_unsaid(name: str, value: Any) -> bool:
    """`--timeout -1` is how scripts of MAD users leave the limit to the card."""
    return name == "timeout" and str(value).strip() == "-1"


_OF_A_LAUNCH = ("ssh", "slurm", "kubernetes", "k8s", "compose", "skypilot")  # keys that are no part of any plan
_BESIDE_A_PLAN = ("additional_context", "join_timeout", "results")


def _refuse_parts_of_the_plan(options: RunOptions) -> None:
    """A saved plan says all of what is run; what would change it makes another plan."""
    given = [name for name in options.__dataclass_fields__ if getattr(options, name) and name not in _BESIDE_A_PLAN]
    if all(word.partition(".")[0] in _OF_A_LAUNCH for word in options.set_key or ()):
        given = [name for name in given if name != "set_key"]
    if given:
        flags = ", ".join(f"--{name.removesuffix('_key').replace('_', '-')}" for name in given)
        raise UsageError(
            f"--plan: found {flags} beside it, which would change the plan; allowed: --results, --join-timeout and "
            "--additional-context with NODE_RANK, MASTER_ADDR, MASTER_PORT or CONTROL_PORT. Leave it out, or leave "
            "--plan out and make a new plan"
        )


def _program() -> str:
    """How this user starts madrun: by its name where a shell finds it, else by the path that was typed."""
    typed = Path(sys.argv[0])
    return "madrun" if typed.name != "madrun" or shutil.which("madrun") else os.path.relpath(typed)


def of_every_card(request: Request) -> Request:
    """The same for cards that are not to be run here, too: a plan and an image may be had of them all the same."""
    options = replace(request.repository, ignore_deprecated=True, disable_skip_gpu_arch=True)
    return replace(request, repository=options)
