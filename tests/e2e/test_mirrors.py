"""Nodes that race for one mirror: one fetches it, a killed one is replaced, and nobody ever sees a part of it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import two_nodes, until
from own_ports import free_port
from servers import S3, USER, s3_server

pytestmark = [pytest.mark.e2e, pytest.mark.beside]
OBJECTS, SIZE = 48, 20_000
PART = 12  # so many objects come until the test lets the others come, too
COUNT = 'echo "performance: $(find "$MAD_DATAHOME" -type f | wc -l) files"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as found:
        found.put("corpora", **{f"corpus__{number:02}": bytes([number]) * SIZE for number in range(OBJECTS)})
        yield found


class Watcher:
    """Looks at a directory all the time: names that are not hidden, and how many files there were on first sight."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, int] = {}
        self._folder, self._over = folder, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.is_set():
            for path in self._folder.iterdir():
                if not path.name.startswith(".") and path.name not in self.seen:
                    self.seen[path.name] = sum(file.stat().st_size == SIZE for file in path.iterdir())
            time.sleep(0.002)

    def end(self) -> dict[str, int]:
        self._over.set()
        self._thread.join()
        return self.seen


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(host_repository: Any, server: S3) -> Any:
    """A card that counts the files of its data, which lie on an S3 server that keeps most of them back."""
    host_repository.add("count", COUNT, data="corpus", metrics={"files": {}})
    folder = host_repository.folder
    (folder / "data.json").write_text(json.dumps({"corpus": {"minio": {"path": "corpora/corpus"}}}))
    entry = USER | {"MINIO_ENDPOINT": server.endpoint}
    (folder / "credential.json").write_text(json.dumps({"MAD_MINIO": entry}))
    server.delay_s = 0.05
    server.hold(after=PART)
    server.asked.clear()
    yield host_repository
    server.delay_s = 0.0
    server.let_go()


def holder(mirror: Path) -> int:
    """The process that fetches."""
    for path in mirror.glob(".corpus.claim-*"):
        try:
            return int(json.loads(path.read_text())["pid"])
        except (OSError, ValueError):
            pass
    return 0


def fetched(mirror: Path) -> int:
    """How many parts are here."""
    return sum(path.read_text().count("\n") for path in mirror.glob(".corpus.part-*/journal"))


def kill_half_way(repository: Any, racers: list[subprocess.Popen[str]], mirror: Path) -> Any:
    """Kills the racer that fetches once a part of the data is here and the other one waits for it; that other one."""
    until(lambda: fetched(mirror) == PART, 60, "a part of the data")
    pid = holder(mirror)
    (victim,) = [racer for racer in racers if racer.pid == pid]
    (other,) = [racer for racer in racers if racer is not victim]
    until(lambda: f"waiting for process {pid} on " in repository.output(other), 60, "the other one")
    os.kill(pid, signal.SIGKILL)
    return other


def is_whole(mirror: Path) -> bool:
    files = sorted((mirror / "corpus").iterdir())
    return [path.read_bytes() for path in files] == [bytes([number]) * SIZE for number in range(OBJECTS)]


def test_of_two_runs_that_race_for_a_mirror_one_is_killed_half_way_and_the_other_goes_on(
    repository: Any, mirror: Path, server: S3
) -> None:
    watcher = Watcher(mirror)
    words = ("run", "--runtime", "process", "--tags", "count", "--force-mirror-local", str(mirror))
    racers = [repository.start(*words) for _ in range(2)]
    other = kill_half_way(repository, racers, mirror)
    server.let_go()
    other.wait(120)
    output = repository.output(other)
    assert other.returncode == 0, output
    assert "which fetches" in output
    assert "mirrored corpus" in output
    assert is_whole(mirror)
    assert watcher.end() == {"corpus": OBJECTS}
    # All of what the killed one had is used: at most the eight that were on their way were asked for twice.
    assert OBJECTS <= len(server.gets()) <= OBJECTS + 8
    assert [path.name for path in mirror.iterdir() if path.name.startswith(".")] == [".corpus.manifest.json"]
    (row,) = csv.DictReader((repository.folder / "results/perf.csv").read_text().splitlines())
    assert (row["performance"], row["dataname"], row["data_provider_type"]) == (str(OBJECTS), "corpus", "minio")
    assert row["data_size"] == str(OBJECTS * SIZE)
    assert float(row["data_download_duration"]) > 0.1
    for path in (repository.folder / "results").rglob("*"):
        assert not path.is_file() or USER["PASSWORD"] not in path.read_text(errors="replace")


def test_of_two_nodes_of_one_run_one_is_killed_half_way_and_the_next_run_goes_on(
    repository: Any, mirror: Path, server: S3
) -> None:
    watcher = Watcher(mirror)

    def start() -> list[subprocess.Popen[str]]:
        words = ("run", "--runtime", "process", "--tags", "count", "--local-data", "--force-mirror-local", str(mirror))
        port = free_port()
        return [repository.start(*words, "-c", two_nodes(rank, port)) for rank in (0, 1)]

    other = kill_half_way(repository, start(), mirror)
    other.wait(120)
    assert other.returncode == 3, repository.output(other)
    assert watcher.seen == {}
    server.let_go()
    again = start()
    for node in again:
        node.wait(120)
    assert [node.returncode for node in again] == [0, 0], [repository.output(node) for node in again]
    assert sum("mirrored corpus" in repository.output(node) for node in again) == 1
    assert is_whole(mirror)
    assert watcher.end() == {"corpus": OBJECTS}
    assert OBJECTS <= len(server.gets()) <= OBJECTS + 8


def test_a_signal_ends_the_fetch_and_keeps_what_is_here(repository: Any, mirror: Path) -> None:
    run = repository.start("run", "--runtime", "process", "--tags", "count", "--force-mirror-local", str(mirror))
    until(lambda: fetched(mirror) == PART, 60, "a part of the data")
    run.send_signal(signal.SIGINT)
    run.wait(60)
    assert run.returncode == 130, repository.output(run)
    assert list(mirror.glob("corpus")) == []
    assert fetched(mirror) == PART
    assert list(mirror.glob(".corpus.claim-*")) == []
