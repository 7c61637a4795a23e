"""Free-form options of `docker run`, as cards of MAD repositories carry them: read, checked, and made part of a plan.

What madrun has a place for in its plan (variables, ipc, shared memory) goes there; the rest stays words.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from madrun.errors import ContextError
from madrun.planning.mad.shellwords import Word, shell_words
from madrun.spec.card import Card
from madrun.spec.codec import sha256
from madrun.spec.context import Layer, is_secret
from madrun.spec.plan import BOX

KEY = "additional_docker_run_options"
# Options of docker and podman without a value; every other one takes the next word.
_SWITCHES = frozenset(
    (
        "privileged",
        "init",
        "read-only",
        "rm",
        "detach",
        "interactive",
        "tty",
        "publish-all",
        "no-healthcheck",
        "oom-kill-disable",
        "disable-content-trust",
        "sig-proxy",
        "help",
        "quiet",
        "replace",
        "rmi",
        "no-hosts",
    )
)
_SHORT = {
    "d": "detach",
    "i": "interactive",
    "t": "tty",
    "P": "publish-all",
    "q": "quiet",
    "e": "env",
    "v": "volume",
    "u": "user",
    "w": "workdir",
    "h": "hostname",
    "m": "memory",
    "c": "cpu-shares",
    "l": "label",
    "p": "publish",
    "a": "attach",
}
_REFUSED = {
    "name": "madrun names its containers, to find them again",
    "entrypoint": "madrun's driver is what starts; put words before the script with encapsulate_script",
    "restart": "a container that starts again would outlive its run",
    "attach": "madrun attaches to all streams, so that the log is complete",
    "cidfile": "madrun ps and madrun status --json name the container",
    "env-file": "what reaches the script has to stand in the plan; use docker_env_vars, or -e NAME=VALUE",
    "label-file": "madrun finds its containers by their labels; use --label",
    "help": "it would show a help text in the place of a run",
    "replace": "a container of another run could be removed by it",
    "rmi": "it would remove the image after the run",
}
# They say what madrun does anyhow, or what it does another way.
_DROPPED = {
    "rm": "madrun removes the container itself",
    "detach": "madrun attaches to the container",
    "interactive": "madrun holds the container's input",
    "tty": "with a terminal the log would hold its control characters",
    "sig-proxy": "madrun ends the container itself",
    "quiet": "madrun shows progress itself",
    "pull": "madrun pulls itself (--pull)",
    "gpus": "docker_gpus and the card's n_gpus say which GPUs the container gets",
}
_PLANNED = {"ipc": "ipc", "shm-size": "shm_size"}
NETWORK = "--network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the text asks for. `env`: its variables. `planned`: `ipc` and `shm_size`, keys of the context, where said.

    `sources`: paths of the host that are mounted. `notes`: what of it has no effect.
    """

    words: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    planned: dict[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_options(text: str, env: Mapping[str, str], where: str) -> Options:
    """The options with the host's variables in them; `ContextError` names `where` and what cannot be."""
    try:
        words = shell_words(text, env)
        return _sorted(_pairs(words), env)
    except ValueError as error:
        raise ContextError(f"{where}: {KEY}: {error}") from None


def _pairs(words: list[Word]) -> Iterable[tuple[str, str | None, str, tuple[Word, ...]]]:
    """Each option: its long name, its value (None for a switch), how it is written, and its words."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        text = word.text
        if not text.startswith("-") or text in ("-", "--"):
            raise ValueError(f"found {text!r} where an option is expected: the engine would take it for the image")
        if text.startswith("--"):
            name, given, value = text[2:].partition("=")
            shown = f"--{name}"
        else:
            yield from _bundled(word)
            letters = text[1:].lstrip("ditPq")
            if not letters:
                continue
            name, value = _SHORT.get(letters[0], letters[0]), letters[1:].removeprefix("=")
            given, shown = ("=" if letters[1:] else ""), f"-{letters[0]}"
        if given:
            yield name, value, shown, (Word(text if text.startswith("--") else f"-{letters}", word.names),)
        elif name in _SWITCHES:
            yield name, None, shown, (word,)
        elif rest:
            following = rest.pop(0)
            yield name, following.text, shown, (Word(shown, word.names), following)
        else:
            raise ValueError(f"found {shown} at the end, which takes a value")


def _bundled(word: Word) -> Iterable[tuple[str, str | None, str, tuple[Word, ...]]]:
    """The switches at the beginning of `-itv`, each as one of its own."""
    letters = word.text[1:]
    for letter in letters[: len(letters) - len(letters.lstrip("ditPq"))]:
        yield _SHORT[letter], None, f"-{letter}", (Word(f"-{letter}", word.names),)


def _sorted(pairs: Iterable[tuple[str, str | None, str, tuple[Word, ...]]], env: Mapping[str, str]) -> Options:
    kept: list[str] = []
    found: dict[str, str] = {}
    planned: dict[str, str] = {}
    sources: list[str] = []
    notes: list[str] = []
    for name, value, shown, words in pairs:
        _check(name, value, shown)
        if name == "env":
            variable, text = _variable(value or "", words, env)
            found[variable] = text
            continue
        _check_secrets(words, shown)
        if name in _DROPPED:
            notes.append(f"{KEY}: {shown} left out: {_DROPPED[name]}")
        elif name in _PLANNED and value is not None:
            planned[_PLANNED[name]] = value
        elif name in ("network", "net"):
            kept += [NETWORK, value or ""]
        else:
            sources += _source(name, value or "")
            kept += [word.text for word in words]
    return Options(words=tuple(kept), env=found, planned=planned, sources=tuple(sources), notes=tuple(notes))


def _check(name: str, value: str | None, shown: str) -> None:
    if name in _REFUSED:
        raise ValueError(f"found {shown}, which a run cannot have: {_REFUSED[name]}")
    if name == "user" and (value or "").partition(":")[0] not in ("0", "root"):
        raise ValueError(f"found {shown} {value}, allowed: root, as whom the driver ends the run's processes")
    if name == "label" and (value or "").startswith("madrun."):
        raise ValueError(f"found {shown} {value}: madrun finds its containers by these labels")
    if name == "ipc" and value not in ("host", "private"):
        raise ValueError(f"found {shown} {value}, allowed: host or private")
    target = _target(name, value or "")
    if target in ("/", BOX) or target.startswith(BOX + "/"):
        raise ValueError(f"found {shown} {value}: {target} is the place of madrun's own files; mount it elsewhere")


def _variable(text: str, words: tuple[Word, ...], env: Mapping[str, str]) -> tuple[str, str]:
    """`NAME=VALUE`, or `NAME` with the host's value."""
    name, given, value = text.partition("=")
    if not given:
        if name not in env:
            raise ValueError(f"${name} is not set on this host (-e {name}); set it, or write -e {name}=VALUE")
        return name, env[name]
    if not is_secret(name):
        _check_secrets(words, f"-e {name}")
    return name, value


def _check_secrets(words: tuple[Word, ...], shown: str) -> None:
    """A secret can only be a variable by a name that says so: anything else is written down."""
    secret = sorted(name for word in words for name in word.names if is_secret(name))
    if secret:
        raise ValueError(f"found the value of ${secret[0]} in {shown}, which files would show; write -e {secret[0]}")


def _mount_fields(name: str, value: str) -> dict[str, str]:
    if name == "volume":
        source, _, rest = value.partition(":")
        return {"source": source, "target": rest.partition(":")[0]} if rest else {"target": source}
    if name == "mount":
        fields = dict(part.partition("=")[::2] for part in value.split(","))
        source = fields.get("source", fields.get("src", ""))
        return {
            "source": source if fields.get("type") == "bind" else "",
            "target": fields.get("target", fields.get("dst", fields.get("destination", ""))),
        }
    return {"target": value.partition(":")[0]} if name == "tmpfs" else {}


def _target(name: str, value: str) -> str:
    target = _mount_fields(name, value).get("target", "")
    return posixpath.normpath("/" + target.lstrip("/")) if target.startswith("/") else ""


def _source(name: str, value: str) -> list[str]:
    """A path of the host; none for a volume that the engine knows by name."""
    source = _mount_fields(name, value).get("source", "")
    return [source] if "/" in source or source.startswith(".") else []


def written(card: Card, layers: Iterable[Layer], cpus: str | None) -> str:
    """A hash of the options as they were written, and of the CPUs; empty without any.

    It is the same on nodes whose variables differ, and another for runs that may not be compared.
    """
    texts = [card.mad.docker_options if card.mad else "", *(str(layer.values.get(KEY) or "") for layer in layers)]
    given = [text for text in (*texts, cpus or "") if text.strip()]
    return sha256(given) if given else ""


def joined(words: Iterable[str]) -> str:
    """The words as one text that means them again."""
    return shlex.join(words)
