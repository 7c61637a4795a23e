"""Runs that stand still are looked at and ended; memory that the kernel took is named. Real processes, real stacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.beside]
INIT = """import datetime, torch.distributed as dist
def begin():
    dist.init_process_group("gloo", timeout=datetime.timedelta(minutes=30))
begin()
"""
PEERS = """import os, socket, time
def wait_for_peer(connection):
    connection.recv(1)
def stuck():
    time.sleep(600)
rank = int(os.environ["NODE_RANK"])
if rank == 0:
    server = socket.create_server(("127.0.0.1", MEETING))
    wait_for_peer(server.accept()[0])
else:
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", MEETING))
            break
        except OSError:
            time.sleep(0.05)
    stuck()
"""
MEASURED = 'echo "performance: 2.5 speed"\n'


def write(repository: Any, card: str, text: str) -> None:
    (repository.folder / "models" / card / "train.py").write_text(text)


def start_both(repository: Any, card: str, *words: str) -> list[Any]:
    port = free_port()
    runs = [repository.start("run", "--tags", card, *words, "-c", two_nodes(rank, port)) for rank in (0, 1)]
    for run in runs:
        run.wait(120)
    return runs


@pytest.mark.docker
def test_a_rank_that_never_arrives_ends_the_run_with_the_stack_of_the_one_that_waits(
    docker_repository: Any, engine: Any
) -> None:
    script = 'echo begin\n[ "$NODE_RANK" = 0 ] || exec sleep 600\nRANK=0 WORLD_SIZE=2 exec python3 train.py\n'
    docker_repository.add("init", script)
    write(docker_repository, "init", INIT)
    runs = start_both(docker_repository, "init", "--runtime", "docker", "--stall-timeout", "8s")
    outputs = [docker_repository.output(run) for run in runs]
    assert [run.returncode for run in runs] == [3, 3], outputs
    assert all("stalled: nothing has moved on any of 2 nodes for" in output for output in outputs), outputs
    assert "train.py:3 begin -> init_process_group" in outputs[0], outputs[0]
    assert "node 1 pid" in outputs[1], outputs[1]
    (record,) = docker_repository.records()
    culprit = record["culprit"]
    assert culprit["kind"] == "stalled"
    run = docker_repository.folder / "results/runs" / record["run_id"]
    assert culprit["evidence"]
    assert all((run / f"node-{culprit['node']}" / name).is_file() for name in culprit["evidence"])
    stacks = [file.read_text() for file in (run / "node-0/evidence").glob("stack-*.txt")]
    assert any("init_process_group (torch/distributed/distributed_c10d.py" in text for text in stacks), stacks
    assert not containers(engine, docker_repository.folder)


def test_a_hang_in_the_middle_shows_where_every_rank_stands(host_repository: Any) -> None:
    host_repository.add("middle", "echo begin\nexec python3 train.py\n")
    write(host_repository, "middle", PEERS.replace("MEETING", str(free_port())))
    runs = start_both(host_repository, "middle", "--runtime", "process", "--stall-timeout", "8s")
    outputs = [host_repository.output(run) for run in runs]
    assert [run.returncode for run in runs] == [3, 3], outputs
    assert "train.py:3 wait_for_peer" in outputs[0], outputs[0]
    assert "train.py:5 stuck" in outputs[1], outputs[1]


def test_a_node_that_hangs_after_the_others_have_ended_is_found_too(host_repository: Any) -> None:
    host_repository.add("last", '[ "$NODE_RANK" = 0 ] || exec sleep 600\n' + MEASURED)
    runs = start_both(host_repository, "last", "--runtime", "process", "--stall-timeout", "8s")
    outputs = [host_repository.output(run) for run in runs]
    assert [run.returncode for run in runs] == [3, 3], outputs
    assert "ended already: node 0" in outputs[0], outputs[0]
    (record,) = host_repository.records()
    assert (record["culprit"]["kind"], record["culprit"]["node"]) == ("stalled", 1)


def test_a_long_silent_script_that_works_is_left_alone(host_repository: Any) -> None:
    busy = 'python3 -c "import time; e = time.monotonic() + 6\nwhile time.monotonic() < e: pass"\n'
    host_repository.add("silent", busy + MEASURED)
    done = host_repository.run("run", "--tags", "silent", "--runtime", "process", "--stall-timeout", "2s")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = host_repository.records()
    summary = record["nodes"][0]["telemetry"]
    assert summary["run_cpu_pct"]["max"] > 2
    run = host_repository.folder / "results/runs" / record["run_id"]
    rows = (run / "node-0/telemetry.csv").read_text().splitlines()
    assert len(rows) >= 3, rows  # one a second, where somebody has the time to write them


LONG_LEASE = """
import madrun.planning.driver as driver
driver.LEASE_S = 300.0
from madrun.cli import main
main()
"""


def test_a_pause_of_the_agent_itself_is_not_taken_for_a_stall(host_repository: Any) -> None:
    """But for the pause the script stands still only from its start to the pause, and until it is told to go on."""
    pipe = host_repository.folder / "pipe"
    os.mkfifo(pipe)
    host_repository.add("quiet", f"read -r _ <'{pipe}'\n{MEASURED}")
    words = [sys.executable, "-c", LONG_LEASE, "run", "--tags", "quiet", "--runtime", "process"]
    with subprocess.Popen([*words, "--stall-timeout", "15s"], cwd=host_repository.folder) as run:
        try:
            rows = "results/runs/*/node-0/telemetry.csv"
            until(lambda: bool(list(host_repository.folder.glob(rows))), 60, "the first row")
            run.send_signal(signal.SIGSTOP)
            time.sleep(16)
            run.send_signal(signal.SIGCONT)
            time.sleep(1.5)  # in which it looks, and does not take what it missed for a stall
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # an error where nobody reads any more
            os.write(end, b"go on\n")
            os.close(end)
            assert run.wait(60) == 0
        finally:
            run.kill()


def test_a_script_of_half_a_second_has_two_rows_of_telemetry(host_repository: Any) -> None:
    host_repository.add("short", "sleep 0.6\n" + MEASURED)
    assert host_repository.run("run", "--tags", "short", "--runtime", "process").returncode == 0
    (csv,) = host_repository.folder.glob("results/runs/*/node-0/telemetry.csv")
    head, *rows = csv.read_text().splitlines()
    assert head.startswith("time,seconds,host_cpu_pct,")
    assert len(rows) >= 2  # at its begin and at its end; more where the end is late


@pytest.mark.docker
@pytest.mark.parametrize("code", [1, 0])
def test_a_child_that_the_kernel_killed_for_memory_is_named_though_nobody_said_a_word(
    docker_repository: Any, engine: Any, code: int
) -> None:
    script = (
        'until [ -e limited ]; do sleep 0.05; done\nexec 2>/dev/null\npython3 -c "b = bytearray(1 << 30)"\n'
        f"{MEASURED}exit {code}\n"
    )
    docker_repository.add("greedy", script)
    run = docker_repository.start("run", "--tags", "greedy", "--runtime", "docker")

    def box() -> list[Path]:
        return list(docker_repository.folder.glob("results/runs/*/node-0/box/work"))

    def runs() -> bool:  # one that the engine refused, or has only made so far, does not count
        return any(one["State"] == "running" for one in containers(engine, docker_repository.folder))

    until(lambda: bool(box()) and runs(), 60, "the start of the container")
    (found,) = containers(engine, docker_repository.folder)
    engine.update_container(found["Id"], mem_limit=80 << 20, memswap_limit=80 << 20)
    (box()[0] / "limited").touch()
    run.wait(120)
    output = docker_repository.output(run)
    assert run.returncode == 3, output
    (record,) = docker_repository.records()
    assert record["nodes"][0]["oom_kills"] == 1
    assert "the kernel killed 1 process" in output, output
    if code:
        assert record["culprit"]["kind"] == "oom"
        assert "the script ended with exit code 1 on node 0" in output, output
    else:
        assert record["culprit"] is None
        assert "for want of memory (oom_kill) in the container" in output, output
