"""Images that the launching host's engine has and a node's lacks, sent to all of these at once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from madrun.backends.carry.talk import Interrupted, Starter, Talk, Target, Trouble, command, named, program, refused
from madrun.backends.carry.there.images import inspect
from madrun.backends.head import Head
from madrun.errors import EngineError
from madrun.units import format_size

_FRAME = 1 << 20
_BRANCHES = 2  # hosts that one passes an image on to, where they do
_SAY_EVERY_S = 30.0
_LOOK_S = 0.2
_PROGRAMS = ("docker", "podman")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of this host: `seen` is what `docker image inspect` says of it; `engine` the program that saves it."""

    name: str
    engine: str
    seen: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes that its layers have unpacked."""
        return int(self.seen["size"])

    @property
    def of_registry(self) -> bool:
        """Whether it came from a registry or was pushed to one, so that nodes may pull it."""
        return bool(self.seen["registry"])

    def is_like(self, other: Mapping[str, Any] | None) -> bool:
        """Whether that is this image: the same id, or, between engines that count ids otherwise, the same content."""
        if other is None:
            return False
        same = (other["layers"], other["config"]) == (self.seen["layers"], self.seen["config"])
        return bool(other["id"] == self.seen["id"] or (same and self.seen["layers"]))


def images_here(names: Sequence[str]) -> tuple[Image, ...]:
    """Those of the named images that an engine of this host has."""
    found = {}
    for engine in _PROGRAMS:
        if shutil.which(engine) is None:
            continue
        for name in names:
            seen = None if name in found else inspect(engine, name)
            if seen is not None:
                found[name] = Image(name=name, engine=engine, seen=seen)
    return tuple(found[name] for name in dict.fromkeys(names) if name in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the nodes are reached. `packed`: whether all that get something have zstd. `fanout`: hosts at a time.

    `tree`: whether nodes pass it on to others, by an ssh of their own.
    """

    starter: Starter
    packed: bool
    fanout: int
    folder: str
    tree: bool = False


def send_image(image: Image, targets: Sequence[Target], way: Way, head: Head) -> None:
    """Saves it once and gives it to all of the targets, which check it before their engines get its end.

    `EngineError` where it cannot be saved here; `HostsError` names the hosts that have not got it, and why.
    """
    left = list(targets)
    if way.tree and len(targets) > _BRANCHES:
        troubles = _send(image, branches(targets), way, head)
        left = [target for target in targets if target.host in {trouble.host for trouble in troubles}]
        if left:
            lost = named([target.host for target in left])
            head.say(f"image {image.name}: not passed on to {lost}, so it goes there from here")
    troubles = []
    for begin in range(0, len(left), way.fanout):
        troubles += _send(image, [(one, []) for one in left[begin : begin + way.fanout]], way, head)
    if head.stop.is_set():
        raise Interrupted(head.reason)
    if troubles:
        raise refused(f"carrying image {image.name}", troubles, targets)


Branch = tuple[Target, list[Any]]  # a host, and the branches of those that it passes an image on to


def branches(targets: Sequence[Target]) -> list[Branch]:
    """A tree of the hosts in which each passes on to two, as in a heap: log2 of their number is its depth."""
    if not targets:
        return []
    made: list[Branch] = [(target, []) for target in targets]
    for number, branch in enumerate(made[_BRANCHES:]):
        made[number // _BRANCHES][1].append(branch)
    return made[:_BRANCHES]


def _hosts(branch: Branch) -> list[Target]:
    return [branch[0], *(target for below in branch[1] for target in _hosts(below))]


def _question(branch: Branch, common: Mapping[str, Any]) -> dict[str, Any]:
    target, below = branch
    further = [
        {"host": one[0].host, "command": command(one[0].python), "question": _question(one, common)} for one in below
    ]
    return {**common, "engine": target.engine, "further": further}


def _send(image: Image, to: Sequence[Branch], way: Way, head: Head) -> list[Trouble]:
    packed = "zstd" if way.packed and shutil.which("zstd") else "no"
    common = {"do": "image", "folder": way.folder, "name": image.name, "packed": packed}
    troubles: list[Trouble] = []
    with ExitStack() as stack:
        talks: dict[str, Talk] = {}
        for branch in to:
            question = {**_question(branch, common), "program": program().decode() if branch[1] else ""}
            talks[branch[0].host] = stack.enter_context(Talk(way.starter, branch[0], question, head.stop))
        with Saved(image, packed, head.stop) as saved:
            _pour(saved, list(talks.values()), image.name, head)

        def one(branch: Branch) -> None:
            answers: dict[str, Any] = {}
            host = branch[0].host
            try:
                answer = talks[host].reply()
                answers = {host: answer, **answer.get("below", {})}
            except Trouble as trouble:
                answers = {host: {"refused": trouble.text}}
            for target in _hosts(branch):
                if wrong := _wrong(image, answers.get(target.host, {"refused": "it was not reached"})):
                    troubles.append(Trouble(target.host, wrong))

        with ThreadPoolExecutor(len(to)) as pool:
            list(pool.map(one, to))
    return troubles


def _wrong(image: Image, answer: Mapping[str, Any]) -> str:
    """What is wrong with what a host said; empty where it has the image."""
    if said := answer.get("refused") or answer.get("error"):
        return str(said)
    if image.is_like(answer.get("image")):
        return ""
    seen = answer.get("image") or {"id": "none"}
    return f"its engine has another image of that name after it was loaded: {seen['id']}"


class Saved:
    """An image as its engine writes it, packed where asked for; the programs end with the `with`, or with `stop`."""

    def __init__(self, image: Image, packed: str, stop: threading.Event) -> None:
        self._image, self._stop = image, stop
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the `with`
        words = [image.engine, "save", image.name]
        self._children = [_started(words, subprocess.DEVNULL, self._said)]
        self.source = _output(self._children[0])
        if packed == "zstd":
            self._children.append(_started(["zstd", "-q", "-c", "-1", "-T0"], self.source, self._said))
            self.source.close()
            self.source = _output(self._children[1])
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Saved:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            child.kill()
        self.source.close()
        for child in self._children:
            child.wait()
        self._said.close()

    def _watch(self) -> None:
        while any(child.poll() is None for child in self._children):
            if self._stop.wait(_LOOK_S):
                for child in self._children:
                    child.kill()
                return

    def check(self) -> None:
        """Waits for their end; `EngineError` where the image was not saved whole."""
        if any([child.wait() for child in self._children]):
            self._said.seek(0)
            said = "; ".join(self._said.read().decode("utf-8", "replace").strip().splitlines()[-3:])
            raise EngineError(f"{self._image.engine} save {self._image.name} failed on this host: {said}")


def _started(words: list[str], source: int | IO[bytes], said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdin=source, stdout=subprocess.PIPE, stderr=said, start_new_session=True)


def _output(child: subprocess.Popen[bytes]) -> IO[bytes]:
    assert child.stdout is not None
    return child.stdout


def _pour(saved: Saved, talks: Sequence[Talk], name: str, head: Head) -> None:
    """Frames of what is read to all talks, then the sum of it (`there.images.take` reads them)."""
    digest, sent, said = hashlib.sha256(), 0, time.monotonic()
    while not head.stop.is_set() and (data := saved.source.read(_FRAME)):
        digest.update(data)
        sent += len(data)
        for talk in talks:
            talk.send(b"%08x" % len(data) + data)
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            head.say(f"image {name}: {format_size(sent)} sent to each")
    if head.stop.is_set():
        raise Interrupted(head.reason)
    saved.check()
    for talk in talks:
        talk.send(b"%08x" % 0 + digest.hexdigest().encode())
