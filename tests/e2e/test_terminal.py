"""Terminals that are paused, closed, full or gone hold up neither a run nor its end, and hide no verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
COMMAND = f"{sys.executable} -m madrun run"
NOISY = "yes 0123456789 | head -c 3000000\n"
MEASURED = "echo performance: 1 speed\n"


def with_unread_pipe(repository: Any, *words: str) -> tuple[subprocess.Popen[bytes], int, int]:
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "madrun", "run", *words],
        cwd=repository.folder,
        stdout=write,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    return child, read, write


@pytest.mark.parametrize("after", ["sleep 600\n", MEASURED], ids=["running", "ended"])
def test_ctrl_c_ends_a_run_whose_terminal_is_paused(repository: Any, runtime: str, engine: Any, after: str) -> None:
    repository.add("noisy", NOISY + "touch marked\n" + after)
    child, *pipe = with_unread_pipe(repository, "--tags", "noisy", "--runtime", runtime)
    try:
        marked = "results/runs/*/node-0/box/work/marked" if "sleep" in after else "results/runs/*/record.json"
        until(lambda: bool(list(repository.folder.glob(marked))), 60, "the script's mark")
        child.send_signal(signal.SIGINT)
        code = child.wait(60)
    finally:
        child.kill()
        for fd in pipe:
            os.close(fd)
    assert code == (130 if "sleep" in after else 0)
    assert len(repository.records()) == 1
    assert not containers(engine, repository.folder)


def test_a_paused_terminal_on_one_node_does_not_keep_the_others_failure_from_it(
    repository: Any, runtime: str, engine: Any
) -> None:
    repository.add("uneven", NOISY + 'if [ "$NODE_RANK" = 0 ]; then sleep 1; exit 5; fi\nsleep 600\n')
    words = ("--tags", "uneven", "--runtime", runtime, "-c")
    port = free_port()
    paused, *pipe = with_unread_pipe(repository, *words, two_nodes(1, port))
    try:
        other = repository.start("run", *words, two_nodes(0, port))
        assert other.wait(120) == 3
        until(lambda: not containers(engine, repository.folder), 60, "the end of both containers")
    finally:
        paused.send_signal(signal.SIGINT)
        paused.wait(60)
        for fd in pipe:
            os.close(fd)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("| head -n 1 >/dev/null; exit ${PIPESTATUS[0]}", 3),
        (">&-", 3),
        ("2>&-", 3),
        (">/dev/full", 3),
        ("&>/dev/null", 3),
    ],
)
def test_every_card_runs_and_the_exit_code_holds_whatever_becomes_of_the_output(
    host_repository: Any, end: str, code: int
) -> None:
    host_repository.add("first", "yes line | head -n 100000\n" + MEASURED, tags=["all3"])
    host_repository.add("second", "exit 9\n", tags=["all3"])
    host_repository.add("third", MEASURED, tags=["all3"])
    script = f"{COMMAND} --tags all3 --runtime process {end}"
    done = subprocess.run(["bash", "-c", script], cwd=host_repository.folder, capture_output=True, timeout=120)
    assert done.returncode == code
    verdicts = {record["card"]: record["status"] for record in host_repository.records()}
    assert verdicts == {"first": "SUCCESS", "second": "FAILURE", "third": "SUCCESS"}


def test_nohup_is_honoured(host_repository: Any) -> None:
    go_on = host_repository.folder / "go on"
    host_repository.add("slow", f"touch marked; until [ -e '{go_on}' ]; do sleep 0.1; done\n{MEASURED}")
    child = subprocess.Popen(
        ["nohup", sys.executable, "-m", "madrun", "run", "--tags", "slow", "--runtime", "process"],
        cwd=host_repository.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    marked = "results/runs/*/node-0/box/work/marked"
    until(lambda: bool(list(host_repository.folder.glob(marked))), 60, "the script's mark")
    child.send_signal(signal.SIGHUP)
    go_on.touch()
    assert child.wait(60) == 0


def test_cards_that_a_signal_kept_from_running_make_the_exit_code_130(host_repository: Any) -> None:
    host_repository.add("a", MEASURED, tags=["two"])
    host_repository.add("b", "sleep 600\n" + MEASURED, tags=["two"])
    child = host_repository.start("run", "--tags", "two", "--runtime", "process")
    until(lambda: bool(host_repository.records()), 60, "the first record")
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 130
    assert host_repository.records()[0]["status"] == "SUCCESS"


def test_a_script_that_removes_its_surroundings_is_still_seen_to_end(repository: Any, runtime: str) -> None:
    repository.add("rude", "rm -rf ../*\n" + MEASURED)
    done = repository.run("run", "--tags", "rude", "--runtime", runtime, "--timeout", "1h")
    assert done.returncode == 0, done.stdout


def test_a_results_directory_without_room_is_an_error_with_the_path(host_repository: Any) -> None:
    host_repository.add("card", MEASURED)
    small = host_repository.folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    assert mounted.returncode == 0, mounted.stderr
    try:
        (small / "filler").write_bytes(b"x" * (40 << 10))
        done = host_repository.run("run", "--tags", "card", "--runtime", "process", "--results", str(small))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode != 0
    assert str(small) in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
