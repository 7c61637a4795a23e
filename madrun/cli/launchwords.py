"""The words and files that the nodes of a launch are given, out of those that were typed on the launching host."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from madrun.cli.launchsecrets import apart, of_plan
from madrun.cli.layers import site_layer
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.request import Request
from madrun.cli.saved import find_plan, for_nodes
from madrun.cli.words import words_of
from madrun.errors import UsageError
from madrun.probe.environment import NODES_SECRET, forwarded_secrets, nodes_secret
from madrun.results.rundir import RECORD
from madrun.spec.codec import to_json
from madrun.spec.context import VARIABLE_NAME, is_secret

# They name something of this host, or are said in another way on the nodes.
_NOT_CARRIED = ("repo", "results", "site", "additional_context_file", "env")
# Files of this host whose text goes along; the flag is that of the nodes' command too.
_READ = {"data_config": "--data-config", "tools_config": "--tools-config", "manifest_file": "--manifest-file"}
_WRITTEN = ("output", "summary_output", "manifest_output")  # by node 0 alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What every node is told: in words, in texts beside the script that flags name, and where nobody else sees it."""

    words: list[str]
    given: dict[str, str]
    files: dict[str, str]
    private: dict[str, str] = field(repr=False)


def told_to_nodes(
    options: RunOptions,
    groups: tuple[RepositoryOptions, RunFiles, Show],
    more: tuple[str, ...],
    here: tuple[Request, Path],
    at_head: tuple[str, ...],
) -> Told:
    """All of it; `here`: the request and the repository of this host. `more` and `at_head` as `node_words` has them."""
    request, repository = here
    given, files = given_files(request, repository)
    passed = {name: value for name, value in forwarded_secrets().items() if VARIABLE_NAME.fullmatch(name)}
    passed |= of_plan(files[given["--plan"]]) if "--plan" in given else {}
    rest, hidden = apart(options, given, files, passed)
    private = {NODES_SECRET: _shared_secret(), **passed, **hidden}
    words = node_words(rest, groups, more, private, at_head)
    return Told(words=words, given=given, files=files, private=private)


def _shared_secret() -> str:
    """The user's, else one of this launch alone."""
    try:
        return nodes_secret().decode() or secrets.token_hex(32)
    except UnicodeDecodeError:
        raise UsageError(f"{NODES_SECRET}: found bytes that are no UTF-8; allowed: a text, or none") from None


def given_files(request: Request, repository: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Flags and the names of the files that they mean on the nodes, and these files' texts; of a plan its run's too.

    `UsageError` for a file that cannot be read.
    """
    places = {"--additional-context-file": request.additional_context_file}
    places |= {flag: getattr(request.repository, name) for name, flag in _READ.items()}
    if request.saved is not None:
        places["--plan"] = str(find_plan(request.saved, request.results))
    elif layers := site_layer(request, repository):  # a saved plan holds what it said then
        places["--site"] = layers[0].name.removeprefix("--site ").removeprefix("site file ")
    given: dict[str, str] = {}
    files: dict[str, str] = {}
    for flag, place in places.items():
        if place is not None:
            path = Path(place).expanduser()
            given[flag] = f"{flag.removeprefix('--')}{path.suffix}"
            files[given[flag]] = _text(flag, path)
    if "--plan" in given and (first := for_nodes(Path(places["--plan"] or ""))):
        files[RECORD] = to_json(first)  # beside the plan, as in the run's own directory
    return given, files


def layer_names(request: Request, repository: Path) -> dict[str, str]:
    """By flag the layer's name here of each file that goes along; empty where none does."""
    names = {}
    if request.additional_context_file is not None:
        names["--additional-context-file"] = f"--additional-context-file {request.additional_context_file}"
    if request.saved is None and (layers := site_layer(request, repository)):
        names["--site"] = layers[0].name
    return names


def _text(flag: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{flag}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{flag}: {path} is no text in UTF-8; allowed: a text file") from None


def node_words(
    options: RunOptions,
    groups: tuple[RepositoryOptions, RunFiles, Show],
    more: tuple[str, ...],
    private: dict[str, str],
    at_head: tuple[str, ...] = (),
) -> list[str]:
    """The words of `madrun run` on every node; values that nobody may see are added to `private` instead.

    `at_head`: names of options for files that the launching host itself writes. What node 0 writes it writes to the
    path that the user meant here.
    """
    repository, files, show = groups
    words = words_of(options, _NOT_CARRIED)
    for word in options.env or ():
        name, given, value = word.partition("=")
        if given and is_secret(name):
            private[name] = value
        elif not given and name not in private:
            private[name] = os.environ[name]
        words += ["--env", word if given and not is_secret(name) else name]
    meant: dict[str, Any] = {
        name: str(Path(place).expanduser().absolute()) for name in _WRITTEN if (place := getattr(files, name))
    }
    words += [*words_of(repository, tuple(_READ)), *words_of(replace(files, **meant), at_head), *words_of(show), *more]
    return words


def typed_again(command: tuple[str, ...]) -> tuple[str, ...]:
    """What starts the same launch anew: `render` only wrote it down, and its folder is no longer empty."""
    if command[1:2] != ("render",):
        return command
    words: list[str] = []
    rest = list(command[2:])
    while rest:
        word = rest.pop(0)
        if word == "--to":
            del rest[:1]
        elif not word.startswith("--to="):
            words.append(word)
    return (command[0], "run", *words)
