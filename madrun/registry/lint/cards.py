"""Rules for a card: what it names is there, its numbers agree, and its arguments are its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.subject import CardView, short_name

PLACEHOLDER = re.compile(
    r"<[A-Za-z][A-Za-z0-9_ .-]*>|\b(?:TODO|FIXME|TBD|CHANGE_?ME|REPLACE_?ME)\b|/path/to/|"
    r"\b(?:your|YOUR)[-_](?:\w+)|\bXXXX+\b"
)
_MADE_UP = re.compile(r"[^\s\"'()=,:;]{0,200}[\w}*%)]\.csv\b")
_UNKNOWN_PARTS = re.compile(r"\$\{[^}]*\}|\$\w+|\{[^}]*\}|%[-\w]*[sd]|\$\([^)]*\)|\*")
_OUTSIDE = re.compile(
    r"\bgit\s+clone\b|\s-m\s+\w|"
    r"(?:(?:^|[\s\"'=])(?:\.\./|/(?!dev/|tmp/|bin/|usr/bin/))|\$\{?\w+\}?/)[\w./-]+\.(?:sh|py)\b"
)
_VALUE = re.compile(r"[\w./+-]+")


def no_script(view: CardView) -> Iterator[Hit]:
    """The script is not there."""
    if not Path(view.card.folder, view.card.script).is_file():
        path = view.repository.texts.name(Path(view.card.folder, view.card.script))
        yield view.hit("scripts", f"scripts: {path} does not exist")


def no_dockerfile(view: CardView) -> Iterator[Hit]:
    """No file has the prefix."""
    mad = view.card.mad
    if mad and not mad.env_vars.get("DOCKER_IMAGE_NAME") and not view.repository.beside(mad.dockerfile):
        yield view.hit("dockerfile", f"dockerfile: there is no file {mad.dockerfile}.*")


def no_context_folder(view: CardView) -> Iterator[Hit]:
    """The build context is not there."""
    mad = view.card.mad
    if mad and mad.context and not (view.repository.folder / mad.context).is_dir():
        yield view.hit("dockercontext", f"dockercontext: there is no folder {mad.context}")


def no_data(view: CardView) -> Iterator[Hit]:
    """A name of data that data.json does not have."""
    known = view.repository.data_names
    for name in view.card.data:
        if known is None:
            yield view.hit("data", f"data: {name!r}, and there is no data.json that can be read")
        elif name not in known:
            names = ", ".join(sorted(known)) or "nothing"
            yield view.hit("data", f"data: {name!r} is not in data.json, which has {names}")


def no_credential(view: CardView) -> Iterator[Hit]:
    """A key that credential.json does not have, where that file is there at all."""
    cred = view.card.mad.cred if view.card.mad else ""
    known = view.repository.keys_of("credential.json") if cred else None
    if cred and known is not None and cred not in known:
        yield view.hit("cred", f"cred: {cred!r} is not in credential.json")


def never_written(view: CardView) -> Iterator[Hit]:
    """No file of the script's folder names the CSV, builds such a name, or reaches where that may be done."""
    name = view.card.multiple_results
    if not name or (view.card.mad and view.card.mad.url) or name in view.card.args:
        return
    texts = view.repository.folder_texts(view.card.folder)
    base = name.rpartition("/")[2]
    for text in texts:
        if base in text.raw or "MAD_OUTPUT_CSV" in text.raw or _OUTSIDE.search(text.raw):
            return
        if any(_may_be(made, base) for made in _made_up(text.raw)):
            return
    if texts:
        yield view.hit("multiple_results", f"multiple_results: no file of {_folder(view)} writes {name}")


def _made_up(text: str) -> list[str]:
    """Every name of a CSV, line by line: a file may be one long line of something else."""
    return [name for line in text.split("\n") if ".csv" in line for name in _MADE_UP.findall(line)]


def _may_be(made: str, name: str) -> bool:
    """Whether a name with variables in it can become this name."""
    parts = _UNKNOWN_PARTS.split(made.rpartition("/")[2])
    return len(parts) > 1 and bool(re.fullmatch(".*".join(map(re.escape, parts)), name))


def _folder(view: CardView) -> str:
    return view.repository.texts.name(Path(view.card.folder))


def placeholder(view: CardView) -> Iterator[Hit]:
    """A value that somebody was to fill in."""
    values = view.values or {"args": view.card.args, "env": view.card.env, "data": view.card.data}
    for key, value in values.items():
        if key not in ("owner", "description", "tags"):
            for text in _texts(value):
                if found := PLACEHOLDER.search(text):
                    yield view.hit(key, f"{key}: {found[0]!r} in {text[:80]!r}")
                    break


def _texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, (list, tuple)):
            todo += item


def node_counts(view: CardView) -> Iterator[Hit]:
    """Numbers of nodes that differ."""
    yield from _differ(view, (("nnodes",), ("distributed", "nnodes"), ("slurm", "nodes")))


def gpu_counts(view: CardView) -> Iterator[Hit]:
    """Numbers of GPUs of a node that differ; -1 is any."""
    yield from _differ(view, (("n_gpus",), ("distributed", "nproc_per_node"), ("slurm", "gpus_per_node")))


def _differ(view: CardView, places: tuple[tuple[str, ...], ...]) -> Iterator[Hit]:
    said = {}
    for path in places:
        value: Any = view.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        text = str(value).strip()
        if text.isdigit() and not isinstance(value, bool):
            said[path] = int(text)
    if len(set(said.values())) > 1:
        texts = (f"{'.'.join(path)}: {number}" for path, number in said.items())
        yield view.hit(list(said)[-1][0], ", ".join(texts))


def foreign_model(view: CardView) -> Iterator[Hit]:
    """The arguments name another card of the same script, where the others name themselves."""
    own = short_name(view.card)
    words = set(_VALUE.findall(view.card.args))
    if own in words:
        return
    for word in sorted(words & view.repository.shorts):
        others = view.repository.by_script[view.card.folder, view.card.script]
        if any(short_name(other) == word and word in _VALUE.findall(other.args) for other in others):
            yield view.hit("args", f"args: {word!r} is another card")


def unknown_field(view: CardView) -> Iterator[Hit]:
    """A field that nothing reads."""
    for text in view.card.warnings:
        yield view.hit(next((key for key in view.values if re.search(rf"\b{re.escape(key)}\b", text)), "name"), text)


CARD_RULES = (
    Rule("no-script", "error", "correct the path; it counts from the folder of the file that it stands in", no_script),
    Rule("no-dockerfile", "error", "`dockerfile` begins file names: docker/x for docker/x.*", no_dockerfile),
    Rule("no-context-folder", "error", "dockercontext counts from the root of the repository", no_context_folder),
    Rule("no-data", "error", "add it to data.json, or correct the name", no_data),
    Rule("no-credential", "warning", "add it to credential.json, or correct the name", no_credential),
    Rule("never-written", "error", "write that file, or give the name that the script writes", never_written),
    Rule("placeholder", "error", "fill it in", placeholder),
    Rule("node-counts", "error", "say the number of nodes once", node_counts),
    Rule("gpu-counts", "error", "say the number of GPUs of a node once", gpu_counts),
    Rule("foreign-model", "warning", "give the card arguments of its own", foreign_model),
    Rule("unknown-field", "warning", "correct or remove it: it has no effect", unknown_field),
)
