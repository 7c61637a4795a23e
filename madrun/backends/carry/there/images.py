"""An image as it comes: checked while it passes, given to this node's engine, and on to further nodes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from typing import Any, BinaryIO

from madrun.backends.carry.there.base import MARK, Refused

MOST = 16 << 20  # of one frame
SAID = 3
CONFIG = ("Env", "Cmd", "Entrypoint", "Labels", "User", "WorkingDir")  # what tells images of equal layers apart


def inspect(engine: str, name: str) -> dict[str, Any] | None:
    """Id, layers and labels of the image in the engine; None where it has none of that name, or there is no engine."""
    if not engine:
        return None
    try:
        done = subprocess.run(
            [engine, "image", "inspect", name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        seen = json.loads(done.stdout)[0] if done.returncode == 0 else None
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    if seen is None:
        return None
    layers = (seen.get("RootFS") or {}).get("Layers") or []
    return {
        "id": str(seen.get("Id", "")).rpartition(":")[2],
        "layers": layers,
        "config": {key: (seen.get("Config") or {}).get(key) or None for key in CONFIG},
        "registry": bool(seen.get("RepoDigests")),
        "size": int(seen.get("Size") or 0),
    }


def take(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """Loads what follows into the engine; the engine gets its end only once the whole has proved to be what was sent.

    Frames: 8 hex digits of length and so many bytes; at the end a frame of length 0 and the SHA-256 of all of them.
    `further` hosts get every frame as it comes; `below` of the answer holds what they say, by host.
    """
    engine = request["engine"]
    children = _programs(engine, request["packed"])
    loader, first = children[-1], children[0]
    onward = [Onward(to, request["program"]) for to in request.get("further", ())]
    try:
        _pass_on(source, first, onward)
        if first is not loader and first.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # a loader that ended early says why itself
                first.stdin.close()
        out, err = loader.communicate()
    except BaseException:
        for child in reversed(children):
            child.kill()
        for further in onward:
            further.child.kill()
        raise
    finally:
        for child in children:
            child.wait()
    below: dict[str, Any] = {}
    for further in onward:
        below.update(further.answers())
    if loader.returncode:
        said = "; ".join((err or out).decode("utf-8", "replace").strip().splitlines()[-SAID:])
        return {"refused": f"{engine} load: {said}", "below": below}
    return {"image": inspect(engine, request["name"]), "below": below}


class Onward:
    """A host that this node's own ssh brings the image to, `command` being what answers there."""

    def __init__(self, to: dict[str, Any], program: str) -> None:
        words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        words += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "--", to["host"], to["command"]]
        self._host = to["host"]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        question = dict(to["question"], program=program)
        self.send(program.encode() + json.dumps(question).encode() + b"\n")

    def send(self, data: bytes) -> None:
        """One more piece; where the host is lost it gets no answer, which tells enough."""
        _write(self.child, data)

    def answers(self) -> dict[str, Any]:
        """By host what it and those below it said; those that did not are missing."""
        try:
            out, _ = self.child.communicate()
        except OSError:
            return {}
        for line in out.splitlines():
            if line.startswith(MARK.encode()):
                answer = json.loads(line[len(MARK) :])
                return {self._host: answer, **answer.pop("below", {})}
        return {}


def _programs(engine: str, packed: str) -> list[subprocess.Popen[bytes]]:
    """What unpacks, if anything, and what loads."""
    words = [engine, "load"]
    if packed != "zstd":
        return [_loader(words, subprocess.PIPE)]
    unpacker = subprocess.Popen(["zstd", "-d", "-q", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert unpacker.stdout is not None
    loader = _loader(words, unpacker.stdout)
    unpacker.stdout.close()
    return [unpacker, loader]


def _loader(words: list[str], source: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _pass_on(source: BinaryIO, first: subprocess.Popen[bytes], onward: list[Onward]) -> None:
    """Writes each frame once the next has come, the last one once the sum is right."""
    digest, held, taking = hashlib.sha256(), b"", True
    while True:
        head = _exactly(source, 8)
        size = int(head, 16)
        if not 0 <= size <= MOST:
            raise Refused("the image came broken; start the launch again")
        if not size:
            break
        taking = taking and _write(first, held)
        if not taking and not onward:
            return
        held = _exactly(source, size)
        digest.update(held)
        for further in onward:
            further.send(head + held)
    said = _exactly(source, 64)
    for further in onward:
        further.send(head + said)
    if said.decode("ascii", "replace") != digest.hexdigest():
        raise Refused("what came is not what was sent: the image was refused; start the launch again")
    _write(first, held)


def _write(child: subprocess.Popen[bytes], data: bytes) -> bool:
    """Whether it still takes anything; why not is told by its own words."""
    assert child.stdin is not None
    try:
        child.stdin.write(data)
        child.stdin.flush()
    except OSError:
        return False
    return True


def _exactly(source: BinaryIO, size: int) -> bytes:
    parts = []
    while size:
        part = source.read(size)
        if not part:
            raise EOFError("the connection ended in the middle of the image")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
