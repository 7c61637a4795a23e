"""Other hosts by the system's ssh: what is started there ends with its input.

A host that is not let in, has no madrun or another one becomes a finding.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from madrun import __version__
from madrun.backends.ssh.connection import NO_CONNECTION, TOO_LONG, Connections, Reply
from madrun.backends.ssh.problems import of_reply
from madrun.spec.finding import Finding

_ENOUGH_S = 15.0  # for a remote doctor to end in order after its input has ended
_VERSION_S, _MORE_S = 30.0, 0.1  # for an answer to the first question, and for each host, since all start here at once
_AFTER_S = 300.0  # for all others once one has ended: nodes end together, but one may still pull its image
_LAST, _LONGEST = 4, 400
_NO_MADRUN = 127  # of a shell without the program
_MANUAL = "https://man.openbsd.org/ssh"
# The interpreter of this madrun where that host has it with madrun, else the madrun of that host's PATH.
_CHOOSE = """cd {folder} 2>/dev/null
if {python} -c 'import madrun' 2>/dev/null; then set -- {python} -m madrun
elif command -v madrun >/dev/null; then set -- madrun
else echo "no madrun: {python} has none, and none is on PATH" >&2; exit 127; fi
"""
# In the background a shell gives /dev/null for an input: 3 is that of ssh, whose end ends what was started.
_START = """exec 3<&0
"$@" {words} </dev/null & doctor=$!
(cat <&3; kill -TERM $doctor) >/dev/null 2>&1 & guard=$!
wait $doctor; code=$?
kill $guard 2>/dev/null
exit $code
"""


def versions(connections: Connections, hosts: Sequence[str], folder: str) -> list[Finding | None]:
    """For each host, asked all at once: None where it has this madrun, else the FAIL that says why no visit can be."""
    script = _script(folder, '"$@" --version\n')
    replies = connections.run(hosts, script, limit_s=_VERSION_S + _MORE_S * len(hosts))
    return [_of_version(reply) for reply in replies]


def visits(connections: Connections, hosts: Sequence[str], folder: str, words: Sequence[Sequence[str]]) -> list[Reply]:
    """`madrun WORDS` on each host at the same time, in `folder` where the host has it; all are ended with this call."""
    scripts = [_script(folder, _START.format(words=shlex.join(each))) for each in words]
    with _started(connections, hosts, scripts) as running:
        replies, deadline = [], float("inf")
        for one in running:
            replies.append(one.reply(deadline))
            deadline = min(deadline, time.monotonic() + _AFTER_S)
        return replies


def document_of(reply: Reply) -> Mapping[str, Any] | None:
    """The one JSON document of a visit; None where there is none. A login shell may say something before it."""
    with suppress(ValueError, RecursionError):
        text = reply.out.decode(errors="replace")
        start = re.search(r"^\{", text, re.MULTILINE)
        found, _ = json.JSONDecoder().raw_decode(text, start.start() if start else 0)
        if isinstance(found, dict) and isinstance(found.get("nodes"), list):
            return {key: _printable(value) for key, value in found.items()}
    return None


def _printable(value: Any) -> Any:
    """The same without what a terminal would take for its own: another host has said it."""
    if isinstance(value, str):
        return "".join(letter for letter in value if letter.isprintable() or letter == "\n")
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return {key: _printable(one) for key, one in value.items()} if isinstance(value, dict) else value


def unanswered(reply: Reply) -> Finding:
    """Why a host gave no document."""
    if reply.code == NO_CONNECTION:
        why = of_reply(0, reply, _VERSION_S)
        return Finding(name="ssh", state="FAIL", text=why.said, advice=why.told, source=_MANUAL)
    if reply.code == _NO_MADRUN:
        advice = "install the same madrun there, on the PATH that `ssh HOST env` shows or at the same place as here"
        return Finding(name="madrun", state="FAIL", text=_tail(reply), advice=advice)
    if reply.code == TOO_LONG:
        text = reply.said or "connected, and it gave no answer in time"
        advice = "`ssh HOST madrun --version` has to answer at once: look at its file systems (NFS) and its login shell"
        return Finding(name="madrun", state="FAIL", text=text, advice=advice)
    text = f"madrun doctor ended there with {reply.code}: {_tail(reply)}"
    advice = "type it on that host; the same words have to be right on every host"
    return Finding(name="madrun", state="FAIL", text=text, advice=advice)


def _of_version(reply: Reply) -> Finding | None:
    if reply.code:
        return unanswered(reply)
    found = reply.out.decode(errors="replace").strip().rpartition("\n")[2].strip()[:_LONGEST]
    if found == f"madrun {__version__}":
        return None
    text = f"{found or 'something without a version'} there, madrun {__version__} here"
    return Finding(name="madrun", state="FAIL", text=text, advice="install one version on every host")


def _tail(reply: Reply) -> str:
    lines = [line.strip() for line in reply.said.splitlines() if line.strip()]
    return "; ".join(lines[-_LAST:])[-_LONGEST:] or f"ended with {reply.code} and said nothing"


def _script(folder: str, then: str) -> str:
    return _CHOOSE.format(folder=shlex.quote(folder), python=shlex.quote(sys.executable)) + then


@dataclass(slots=True)
class _Running:
    """A command on one host, with its input held open, and what it has printed so far."""

    host: str
    child: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]
    began: float

    def reply(self, deadline: float = float("inf")) -> Reply:
        """Waits for its end, until this moment of the monotonic clock."""
        try:
            code = self.child.wait(max(deadline - time.monotonic(), 0.0) if deadline < float("inf") else None)
        except subprocess.TimeoutExpired:
            said = f"it gave no answer within {time.monotonic() - self.began:.0f} s"
            return Reply(host=self.host, code=TOO_LONG, err=said.encode())
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read())
        return Reply(host=self.host, code=code, out=texts[0], err=texts[1])

    def close(self, deadline: float) -> None:
        """Waits until this moment for its end, after that of its input."""
        try:
            self.child.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.out.close()
        self.err.close()


@contextmanager
def _started(connections: Connections, hosts: Sequence[str], scripts: Sequence[str]) -> Iterator[list[_Running]]:
    running: list[_Running] = []
    try:
        for host, script in zip(hosts, scripts, strict=True):
            out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - close() does
            child = connections.start(host, script, stdout=out, stderr=err)
            running.append(_Running(host, child, out, err, time.monotonic()))
        yield running
    finally:
        for one in running:
            if one.child.stdin is not None:
                with suppress(OSError):
                    one.child.stdin.close()
        deadline = time.monotonic() + _ENOUGH_S  # for all of them, however many hang
        for one in running:
            one.close(deadline)


def here() -> str:
    """The folder in which the visit begins on every host that has it."""
    return str(Path.cwd())
