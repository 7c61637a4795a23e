"""Strangers at the control port of a real run of two nodes: a scanner, a fuzzer, an eavesdropper, a flood."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.beside]
# It goes on until it is told: what happens meanwhile may take its time.
SCRIPT = """until [ -e "$MEANT" ]; do sleep 0.1; done
if env | grep -q MADRUN_SECRET; then exit 7; fi
echo performance: 2.5 speed
"""
SECRET = "correct horse battery staple"
TLS = bytes.fromhex("16030100c8010000c40303") + bytes(range(189))
HELLO = {"type": "hello", "protocol": 3, "node_rank": 1, "nnodes": 2, "hostname": "mallory", "run": "x"}


@pytest.fixture
def cards(host_repository: Any) -> Any:
    """A repository with two cards; `go_on` lets their scripts end."""
    for name in ("card", "other"):
        host_repository.add(name, SCRIPT, env={"MEANT": str(host_repository.folder / "go on")})
    return host_repository


def go_on(repository: Any) -> None:
    (repository.folder / "go on").touch()


def node(rank: int, port: int, control: int) -> str:
    args = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CONTROL_PORT": control, "NNODES": 2, "NODE_RANK": rank}
    return str({"multi_node_args": args})


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def send(port: int, data: bytes, *, wait: bool = False) -> bytes:
    """Sends bytes as somebody who is no node; what came back, where that is waited for."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=6) as connection:
        connection.sendall(data)
        return connection.recv(65536) if wait else b""
    return b""


def noise(seed: int) -> Iterator[bytes]:
    """What a scanner and a fuzzer send: other protocols, random bytes, lines without end, JSON of wrong types."""
    chance = random.Random(seed)
    yield from (b"", b"\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-scan\r\n", TLS, b"\0" * 1000 + b"\n")
    yield b"[" * 50_000 + b"\n"
    yield b"x" * (1 << 20)
    yield json.dumps(HELLO).encode()[:-9]  # and then closed
    for _ in range(40):
        yield chance.randbytes(chance.randrange(1, 300)) + b"\n" * chance.randrange(2)
    wrong: list[Any] = [None, True, 3, -1, 1e308, "x", [], {}, [[]], {"a": []}, "\u0000\u001b[2J", "9" * 5000]
    for kind in ("hello", "answer", "dial", "reach", "fail", "beat", "ping", "bye", "refuse", "release"):
        for _ in range(6):
            names = ("node_rank", "nnodes", "nonce", "proof", "purpose", "number", "stage", "failure", "status")
            message = {"type": kind, "protocol": 3}
            message |= {name: chance.choice(wrong) for name in chance.sample(names, 4)}
            yield json.dumps(message).encode() + b"\n"


def attack(port: int, seed: int) -> None:
    for data in noise(seed):
        send(port, data)


def flood(port: int, stack: contextlib.ExitStack, number: int) -> None:
    """So many connections that say nothing; as many as are taken."""
    for _ in range(number):
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))


def check_success(repository: Any, nodes: list[subprocess.Popen[str]]) -> None:
    go_on(repository)
    for one in nodes:
        one.wait(120)
    outputs = [repository.output(one) for one in nodes]
    assert [one.returncode for one in nodes] == [0, 0], outputs
    for output in outputs:
        assert "Traceback" not in output
        assert "mallory" not in output
        assert SECRET not in output
    (record,) = repository.records()
    assert [one["node"] for one in record["nodes"]] == [0, 1]
    assert record["status"] == "SUCCESS"
    for file in (repository.folder / "results").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("secret", ["", SECRET])
def test_noise_before_during_and_after_the_join_changes_nothing(
    cards: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    if secret:
        monkeypatch.setenv("MADRUN_SECRET", secret)
    port, control = free_port(), free_port()
    words = ("run", "--tags", "card", "--runtime", "process", "-c")
    first = cards.start(*words, node(0, port, control))
    until(lambda: listens(control), 60, "node 0 at its port")
    attack(control, 1)
    during = threading.Thread(target=attack, args=(control, 2))
    during.start()
    second = cards.start(*words, node(1, port, control))
    during.join()
    until(lambda: running(cards), 60, "the script")
    attack(control, 3)
    assert send(control, json.dumps(HELLO).encode() + b"\n", wait=True).startswith(b'{"type":"refuse"')
    check_success(cards, [first, second])


def running(repository: Any) -> bool:
    return bool(list(repository.folder.glob("results/runs/*/node-1/console.log")))


def test_two_thousand_silent_connections_keep_nobody_out(cards: Any) -> None:
    port, control = free_port(), free_port()
    words = ("run", "--tags", "card", "--runtime", "process", "-c")
    first = cards.start(*words, node(0, port, control))
    until(lambda: listens(control), 60, "node 0 at its port")
    with contextlib.ExitStack() as stack:
        flood(control, stack, 2000)
        before = memory(first.pid)
        second = cards.start(*words, node(1, port, control))
        flood(control, stack, 500)
        until(lambda: running(cards), 60, "the script")
        assert memory(first.pid) - before < 64
        check_success(cards, [first, second])


def memory(pid: int) -> float:
    """Resident memory in MiB."""
    with Path(f"/proc/{pid}/status").open() as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Recorder:
    """A port in between that passes everything on and keeps what the node sent, connection by connection."""

    def __init__(self, target: int) -> None:
        self.sent: list[bytearray] = []
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._server, contextlib.suppress(OSError):
            while True:
                caller = self._server.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                except OSError:
                    caller.close()
                    continue
                server.settimeout(None)
                kept = bytearray()
                self.sent.append(kept)
                threading.Thread(target=self._pass_on, args=(caller, server, kept), daemon=True).start()

    def _pass_on(self, caller: socket.socket, server: socket.socket, kept: bytearray) -> None:
        with caller, server:
            back = threading.Thread(target=self._copy, args=(server, caller, None), daemon=True)
            back.start()
            self._copy(caller, server, kept)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accepts no more; a thread that waits in accept is woken, and closes what it has."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)


def test_what_was_recorded_of_a_node_enters_no_run_while_there_is_a_secret(
    cards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADRUN_SECRET", SECRET)
    port, control = free_port(), free_port()
    recorder = Recorder(control)
    words = ("run", "--tags", "card", "--runtime", "process", "-c")
    first = cards.start(*words, node(0, port, control))
    second = cards.start(*words, node(1, port, recorder.port))
    until(lambda: running(cards), 60, "the script")
    recorded = [bytes(kept) for kept in recorder.sent if kept]
    assert any(b'"answer"' in kept for kept in recorded)
    assert not any(SECRET.encode() in kept for kept in recorded)
    for kept in recorded:
        assert b"welcome" not in send(control, kept, wait=True)  # into the run that it was recorded of
    check_success(cards, [first, second])
    recorder.close()
    again = free_port()
    third = cards.start(*words, node(0, again, control))
    until(lambda: listens(control), 60, "node 0 at its port")
    for kept in recorded:
        assert b"welcome" not in send(control, kept, wait=True)  # and into the next one
    fourth = cards.start(*words, node(1, again, control))
    for one in (third, fourth):
        one.wait(120)
        assert one.returncode == 0, cards.output(one)
        assert "Traceback" not in cards.output(one)
    assert "tried to join with another MADRUN_SECRET" in cards.output(third)


@pytest.mark.parametrize(("ours", "theirs"), [(SECRET, ""), ("", SECRET), (SECRET, "zebra crossing")])
def test_a_node_with_a_wrong_secret_ends_at_once_and_node_0_goes_on_waiting(
    cards: Any, monkeypatch: pytest.MonkeyPatch, ours: str, theirs: str
) -> None:
    def with_secret(value: str) -> None:
        monkeypatch.delenv("MADRUN_SECRET", raising=False)
        if value:
            monkeypatch.setenv("MADRUN_SECRET", value)

    port, control = free_port(), free_port()
    words = ("run", "--tags", "card", "--runtime", "process", "-c")
    with_secret(ours)
    first = cards.start(*words, node(0, port, control))
    until(lambda: listens(control), 60, "node 0 at its port")
    with_secret(theirs)
    wrong = cards.run(*words, node(1, port, control))  # which would wait for 10 minutes
    assert wrong.returncode == 4
    assert "MADRUN_SECRET" in wrong.stderr
    assert "export the same MADRUN_SECRET on every node, or on none" in wrong.stderr
    with_secret(ours)
    second = cards.start(*words, node(1, port, control))
    check_success(cards, [first, second])
    assert "127.0.0.1 tried to join with" in cards.output(first)


def test_a_node_of_another_run_is_told_so_and_disturbs_nobody(cards: Any) -> None:
    port, control = free_port(), free_port()
    words = ("run", "--runtime", "process", "--tags")
    nodes = [cards.start(*words, "card", "-c", node(rank, port, control)) for rank in (0, 1)]
    until(lambda: running(cards), 60, "the script")
    foreign = cards.run(*words, "other", "-c", node(1, port, control))
    twice = cards.run(*words, "card", "-c", node(1, port, control))
    assert (foreign.returncode, twice.returncode) == (3, 3)
    assert "the card differs: card on node 0, other on" in foreign.stderr
    assert "NODE_RANK 1 is given twice" in twice.stderr
    for refused in (foreign, twice):
        assert "give each its own MASTER_PORT" in refused.stderr
        assert "Traceback" not in refused.stderr
    check_success(cards, nodes)


def test_the_time_limit_ends_the_wait_on_every_node_with_the_same_list(cards: Any) -> None:
    port, control = free_port(), free_port()
    words = ("run", "--runtime", "process", "--tags", "card", "--join-timeout")
    three = [node(rank, port, control).replace("'NNODES': 2", "'NNODES': 3") for rank in (0, 1)]
    second = cards.start(*words, "10m", "-c", three[1])  # node 0's limit counts
    until(lambda: "waiting for node 0" in cards.output(second), 60, "node 1 at the door")
    first = cards.start(*words, "8s", "-c", three[0])
    lists = []
    for one in (first, second):
        assert one.wait(60) == 3
        output = cards.output(one)
        lists.append(next(line for line in output.splitlines() if "(--join-timeout)" in line))
        assert "Traceback" not in output
    assert lists[0] == lists[1]
    host = socket.gethostname()
    assert f"node 0 ({host}), 1 ({host}) had joined; node 2 of 3 had not joined at 127.0.0.1" in lists[0]
    assert not list(cards.folder.glob("results/runs/*"))
