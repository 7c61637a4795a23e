"""One entry of models.json, or one object of a generator, as a card. Thousands are read at once: no model library."""

from __future__ import annotations

import json
import posixpath
from functools import cache
from pathlib import Path
from typing import Any

from madrun.registry.mad import fields
from madrun.registry.mad.fields import Entry, Wrong
from madrun.spec.card import CARD_NAME, CARD_NAME_RULE, Card
from madrun.spec.mad import ALL_GPUS, LogErrors, MadCard
from madrun.spec.validation import did_you_mean

FILE_ENDINGS = (".sh", ".py", ".slurm")  # any other path is a folder with run.sh in it
_LOG_SCAN, _LOG_BENIGN, _LOG_PATTERNS = "log_error_pattern_scan", "log_error_benign_patterns", "log_error_patterns"
_PLACES = ("name", "dockerfile", "scripts", "dockercontext", "url")
_CHOICE = ("tags", "skip_gpu_arch", "is_deprecated", "n_gpus", "nnodes", "distributed", "slurm")
_RUN = ("args", "data", "cred", "timeout", "multiple_results", "env_vars", "additional_docker_run_options")
FIELDS = frozenset((*_PLACES, *_CHOICE, *_RUN, "owner", "training_precision", _LOG_SCAN, _LOG_BENIGN, _LOG_PATTERNS))
NO_LOG_ERRORS = LogErrors()


def card_of(entry: Any, file: Path, repository: Path, scope: str) -> Card:
    """The card that the entry of `file` means; `scope` is the folder of the file below scripts/, empty for the root.

    Raises `Wrong` for the first field that has no meaning.
    """
    if not isinstance(entry, dict):
        raise Wrong("", entry, "an object with name, dockerfile, scripts and so on")
    short = _name(entry)
    folder, script = _script(entry, scope)
    dockerfile = fields.stated(entry, "dockerfile")
    count = fields.gpus(entry, "n_gpus")
    env_vars = fields.variables(entry, "env_vars")
    tags = fields.words(entry, "tags")
    return Card(
        name=f"{scope}/{short}" if scope else short,
        folder=f"{repository}/{folder}" if folder else str(repository),
        repository=str(repository),
        source=str(file),
        script=script,
        args=_args(entry),
        tags=tags,
        gpus_per_node=None if count == ALL_GPUS else int(count),
        data=fields.words(entry, "data"),
        timeout_s=fields.seconds(entry, "timeout"),
        multiple_results=fields.file_name(entry, "multiple_results"),
        training_precision=fields.text(entry, "training_precision"),
        mad=MadCard(
            short=short,
            dockerfile=_placed("dockerfile", dockerfile, scope) if dockerfile.strip() else "",
            context=fields.text(entry, "dockercontext"),
            n_gpus=count,
            url=fields.text(entry, "url").strip(),
            cred=fields.text(entry, "cred").strip(),
            owner=fields.text(entry, "owner"),
            skip_gpu_arch=fields.words(entry, "skip_gpu_arch"),
            docker_options=fields.text(entry, "additional_docker_run_options"),
            is_deprecated=fields.flag(entry, "is_deprecated", False),
            distributed=fields.names_to_values(entry, "distributed"),
            slurm=fields.names_to_values(entry, "slurm"),
            env_vars=env_vars,
            log_errors=_log_errors(entry),
            nnodes=fields.whole(entry, "nnodes"),
        ),
        warnings=_warnings(entry, tags, bool(dockerfile.strip() or env_vars.get("DOCKER_IMAGE_NAME"))),
    )


def stub_of(entry: Any, scope: str) -> Card | None:
    """As much of a card that could not be read as decides whether a tag means it; None where it has no name."""
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        return None
    try:
        tags = fields.words(entry, "tags")
    except Wrong:
        tags = ()
    full = f"{scope}/{name}" if scope else name
    mad = MadCard(short=name, dockerfile="")
    return Card(name=full, folder="", repository="", source="", script="", tags=tags, mad=mad)


def check_text(entry: Entry) -> None:
    """Refuses what no process and no file can be given. Called where an entry has escapes that could hide it."""
    for key, value in entry.items():
        plain = json.dumps([key, value], ensure_ascii=False)
        if "\\u0000" in plain or any("\ud800" <= letter <= "\udfff" for letter in plain):
            raise Wrong(key.encode("ascii", "backslashreplace").decode(), value, "text without NUL or half characters")


def _name(entry: Entry) -> str:
    name = fields.required(entry, "name")
    if not CARD_NAME.fullmatch(name):
        raise Wrong("name", name, CARD_NAME_RULE)
    return name


def _script(entry: Entry, scope: str) -> tuple[str, str]:
    """The folder, relative to the repository, and the script in it."""
    path = _placed("scripts", fields.required(entry, "scripts").strip(), scope)
    if not path.endswith(FILE_ENDINGS):
        return path, "run.sh"
    folder, _, name = path.rpartition("/")
    return folder, name


def _placed(key: str, path: str, scope: str) -> str:
    """The path relative to the repository: that of a nested card is relative to its file."""
    placed = posixpath.normpath(f"scripts/{scope}/{path}" if scope and path[0] != "/" else path)
    if placed[0] == "/" or placed.startswith("../") or placed in ("..", "."):
        raise Wrong(key, path, "a path inside the repository, relative to " + (f"scripts/{scope}" if scope else "it"))
    return placed


def _args(entry: Entry) -> str:
    """The arguments byte for byte: the shell beside the script reads them."""
    args = fields.text(entry, "args")
    if "\0" in args:
        raise Wrong("args", args, "text without NUL")
    return args


def _log_errors(entry: Entry) -> LogErrors:
    if not (_LOG_SCAN in entry or _LOG_BENIGN in entry or _LOG_PATTERNS in entry):
        return NO_LOG_ERRORS
    return LogErrors(
        scan=fields.flag(entry, _LOG_SCAN, True),
        patterns=fields.patterns(entry, _LOG_PATTERNS),
        benign=fields.patterns(entry, _LOG_BENIGN) or (),
    )


def _warnings(entry: Entry, tags: tuple[str, ...], has_image: bool) -> tuple[str, ...]:
    """What of the entry has no effect."""
    unknown = () if entry.keys() <= FIELDS else tuple(_unknown(key) for key in entry if key not in FIELDS)
    unselectable = tuple(filter(None, map(_tag_problem, tags)))
    empty = () if has_image else ("dockerfile: is empty: the card runs only with MAD_CONTAINER_IMAGE in the context",)
    return (*unknown, *unselectable, *empty) if unknown or unselectable or empty else ()


@cache
def _unknown(key: str) -> str:
    return f"{ascii(key)[1:-1]}: unknown field{did_you_mean(key, FIELDS)}, which has no effect"


@cache
def _tag_problem(tag: str) -> str:
    if ":" in tag or "," in tag or not tag.isprintable():
        return f"tags: {tag!r} cannot be selected: ':' and ',' have a meaning of their own, and a terminal types words"
    return ""
