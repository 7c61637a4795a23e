"""What a pod does around the script of its node: unpacks what is carried, runs it, and sends node 0's results home.

It runs as the container's first process under the image's python, with nothing but the standard library. Results go
home through the pod's log, which outlives the container and needs no right but that to read logs.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

LINE = 3000  # bytes of the archive a line; the lines of a container's log are cut at 16 KiB
FIRST = ("record.json", "plan.json", "journal.jsonl", "perf.csv", "run.json", "host.json")
ERROR = b"\x0e"  # Shift Out: what a terminal does not show
ERRORS_S = 2.0
INTERRUPTED = 130
NAMED = 50  # files that were left out, at most: a long line of a log may be cut
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(launch: Path) -> int:
    """The exit code of the node's script, after its results have been sent; 2 where it could not be started."""
    signals = Signals()
    told = json.loads((launch / "pod.json").read_text())
    try:
        prepare(launch, told)
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        sys.stderr.write(f"madrun: error: the pod could not be made ready: {error}\n")
        return 2
    code = run(["sh", str(launch / "node.sh")], signals)
    if rank() == 0:
        try:
            send(Path(os.environ["MADRUN_RESULTS"]), told, sys.stdout)
        except OSError as error:
            sys.stderr.write(f"madrun: error: the results could not be sent: {error}\n")
    return code


def rank() -> int:
    """Of this node, as the Job says it."""
    return int(os.environ.get("MADRUN_NODE_RANK") or os.environ.get("JOB_COMPLETION_INDEX") or 0)


def prepare(launch: Path, told: dict[str, Any]) -> None:
    """madrun and the repository where the node's script expects them, and a folder for the results."""
    private = launch / "private.env"
    if private.exists() and not os.access(private, os.R_OK):
        raise ValueError(f"user {os.getuid()} of this image may not read {private}; set kubernetes.user to it")
    program = Path(os.environ["MADRUN_PROGRAM"])
    start = "madrun"
    if "madrun" in told["carried"]:
        place = program.parent / "carried"
        with zipfile.ZipFile(joined(told, "madrun")) as archive:
            for entry in archive.infolist():
                Path(archive.extract(entry, place)).chmod(entry.external_attr >> 16 or 0o644)
        start = str(place / "bin" / "madrun")
    if "repository" in told["carried"]:
        with tarfile.open(fileobj=joined(told, "repository"), mode="r:gz") as files:
            if hasattr(tarfile, "fully_trusted_filter"):  # what is carried is the user's own, links out of it included
                files.extraction_filter = tarfile.fully_trusted_filter
            files.extractall(os.environ["MADRUN_REPOSITORY"])
        Path(os.environ["MADRUN_REPOSITORY"]).with_name("madrun-origin.json").write_text(json.dumps(told["origin"]))
    Path(os.environ["MADRUN_RESULTS"]).mkdir(parents=True, exist_ok=True)
    more = "".join(f" --env {name}" for name in told["secrets"])
    program.write_text(f'#!/bin/sh\nexec {start} "$@"{more}\n')
    program.chmod(0o755)


def joined(told: dict[str, Any], name: str) -> io.BytesIO:
    """The pieces of what is carried, as one file; ValueError where they are not what was sent."""
    what = told["carried"][name]
    found = b"".join(Path(told["payload"], f"{name}-{number:03d}").read_bytes() for number in range(what["pieces"]))
    digest = hashlib.sha256(found).hexdigest()
    if digest != what["sha256"]:
        raise ValueError(f"{name} came with SHA-256 {digest}, not {what['sha256']}")
    return io.BytesIO(found)


class Signals:
    """Catches those that end a pod, from now on, and passes them to what is started later."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self._pid = 0
        for number in SIGNALS:
            signal.signal(number, self._take)

    def pass_to(self, pid: int) -> None:
        """From now on to this process, those too that have come already; 0: to none any more."""
        self._pid = pid
        if pid and self.came:
            os.kill(pid, self.came[-1])

    def _take(self, number: int, _frame: object) -> None:
        self.came.append(number)
        if self._pid:
            os.kill(self._pid, number)


def run(words: list[str], signals: Signals) -> int:
    """The exit code; this process is the parent of whatever loses its own, as a first process has to be."""
    if signals.came:
        return INTERRUPTED
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    signals.pass_to(child.pid)
    errors = threading.Thread(target=mark_errors, args=(child.stderr,), daemon=True)
    errors.start()
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            signals.pass_to(0)  # another process may have this number by now
            child.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
            errors.join(ERRORS_S)  # what has lost its parent may hold the stream open
            return child.returncode


def mark_errors(source: IO[bytes]) -> None:
    """Standard error with a mark before each line: a pod's log has one stream, and --json one of its own."""
    for line in source:
        os.write(2, ERROR + line)


def send(results: Path, told: dict[str, Any], out: TextIO) -> None:
    """The runs of this launch as lines between two marks; what does not fit is left out and named."""
    packed, left_out = pack(results, told["launch"], told["limit"])
    out.write(f"\n{told['marker']} begin {hashlib.sha256(packed).hexdigest()} {len(packed)}\n")
    for start in range(0, len(packed), LINE):
        out.write(base64.b64encode(packed[start : start + LINE]).decode() + "\n")
    more = [f"{len(left_out) - NAMED} more"] if len(left_out) > NAMED else []
    out.write(f"{told['marker']} end {json.dumps([*left_out[:NAMED], *more])}\n")
    out.flush()


def pack(results: Path, launch: str, limit: int) -> tuple[bytes, list[str]]:
    """An archive of at most `limit` bytes, and what was left out of it: the largest files, records the last to go."""
    files = sorted(files_of(results, launch), key=lambda one: (Path(one[0]).name not in FIRST, one[1], one[0]))
    names: list[str] = []
    left_out: list[str] = []
    total = 0
    for name, size in files:
        try:
            total += packed_size(results / name, limit - total) if size else 0
        except OSError:  # what a process that was left behind has removed since, or is nobody's to read
            left_out.append(name)
            continue
        (left_out if total > limit else names).append(name)
    while True:
        packed = archive_of(results, names)
        if len(packed) <= limit or not names:
            return packed, sorted(left_out)
        left_out.append(names.pop())


def files_of(results: Path, launch: str) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files of this launch's runs: a claim may hold those of others."""
    for run in sorted((results / "runs").glob("*")):
        try:
            begin = json.loads((run / "journal.jsonl").read_text().partition("\n")[0])
        except (OSError, ValueError):
            continue
        if begin.get("launch") == launch:
            for place, _, names in os.walk(run):
                for path in (Path(place, name) for name in names):
                    if path.is_file() and not path.is_symlink():
                        yield str(path.relative_to(results)), path.stat().st_size


def packed_size(path: Path, enough: int) -> int:
    """About how many bytes of an archive it takes; more than `enough` is not looked at."""
    packer, found = zlib.compressobj(6), 512 // 4
    with path.open("rb") as file:
        while found <= enough and (data := file.read(1 << 20)):
            found += len(packer.compress(data))
    return found + len(packer.flush())


def archive_of(folder: Path, names: list[str]) -> bytes:
    """A compressed archive of these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name in names:
            archive.add(str(folder / name), name)
    return made.getvalue()


if __name__ == "__main__":
    sys.exit(main(Path(__file__).absolute().parent))
