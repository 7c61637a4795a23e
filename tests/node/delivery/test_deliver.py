"""Files of a node on their way to node 0, over real connections that break, stall and lie."""

import asyncio
import contextlib
import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from madrun.node.delivery import cargo, intake
from madrun.node.delivery import deliver as delivering
from madrun.node.delivery.deliver import Sender, deliver
from madrun.node.delivery.intake import Intake
from madrun.node.delivery.parcel import Item, header, line_of, pack
from madrun.node.delivery.shelf import Shelf
from madrun.node.impatience import impatient
from madrun.node.task import IMPATIENT, Interrupt
from madrun.spec.record import Failure

GIB = 1 << 30


class Node0:
    """An intake behind a port; whoever connects is node 1."""

    def __init__(self, run):
        self.intake, self.run, self.connections = Intake(), run, 0
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._up.wait()

    async def _serve(self):
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._door, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._over.wait()
        server.close()

    async def _door(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.intake.door(1, reader, writer)
        writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)
        self.intake.close()


class Dialler:
    """The link of a node that only dials."""

    def __init__(self, port):
        self.port, self.failure = port, None

    def dial(self, _purpose):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


class Proxy:
    """Passes bytes on to node 0, so many on each connection, and then cuts both ends."""

    def __init__(self, port, budgets):
        self.target, self.budgets, self.passed, self._started = port, list(budgets), 0, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, target, *args):
        self._started.append(threading.Thread(target=target, args=args, daemon=True))
        self._started[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                budget = self.budgets.pop(0) if self.budgets else float("inf")
                self._start(self._pass_both, near, far, budget)

    def _pass_both(self, near, far, budget):
        with near, far:
            back = threading.Thread(target=self._pass, args=(far, near, float("inf")))
            back.start()
            self._pass(near, far, budget)
            back.join(60)

    def _pass(self, source, target, budget):
        with contextlib.suppress(OSError):
            while budget > 0 and (chunk := source.recv(int(min(65536, budget)))):
                target.sendall(chunk)
                budget -= len(chunk)
                self.passed += len(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._started:
            thread.join(60)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(delivering, "REST_S", 0.01)


@pytest.fixture
def node_0(tmp_path):
    (tmp_path / "run-0").mkdir()
    made = Node0(tmp_path / "run-0")
    made.intake.open(made.run, GIB)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "there" / "node-1"
    made.mkdir(parents=True)
    (made / "console.log").write_text("one line\n" * 1000)
    return made


def sender(port, interrupt=None, say=None):
    return Sender(Dialler(port), "beta", interrupt or Interrupt(), say or (lambda _text: None))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_links_modes_and_empty_directories_come_as_they_were(node_0, folder):
    (folder / "ranks").mkdir()
    (folder / "ranks/rank-3.log").write_bytes(b"")
    (folder / "output/hollow").mkdir(parents=True)
    (folder / "output/run.sh").write_text("x")
    (folder / "output/run.sh").chmod(0o4755)
    (folder / "output/link").symlink_to("/nowhere/at/all")
    (folder / "output" / os.fsdecode(b"caf\xe9")).write_text("odd")
    (folder / "agent.lock").write_text("")
    (folder / "box").mkdir()
    (folder / "box/left").write_text("")
    assert deliver(sender(node_0.port), folder, GIB) == ()
    there = node_0.run / "node-1"
    assert digest(there / "console.log") == digest(folder / "console.log")
    assert (there / "ranks/rank-3.log").read_bytes() == b""
    assert (there / "output/hollow").is_dir()
    assert (there / "output/run.sh").stat().st_mode & 0o7777 == 0o755
    assert str((there / "output/link").readlink()) == "/nowhere/at/all"
    assert (there / "output" / os.fsdecode(b"caf\xe9")).read_text() == "odd"
    assert sorted(path.name for path in there.iterdir()) == ["console.log", "output", "ranks"]
    assert node_0.intake.end() == ()
    assert node_0.connections == 1


def test_what_came_already_is_not_sent_again(node_0, folder):
    (folder / "blob").write_bytes(os.urandom(3 << 20))
    assert deliver(sender(node_0.port), folder, GIB) == ()
    proxy = Proxy(node_0.port, [])
    assert deliver(sender(proxy.port), folder, GIB) == ()
    assert proxy.passed < 10_000
    assert digest(node_0.run / "node-1/blob") == digest(folder / "blob")
    proxy.close()


@pytest.mark.e2e
def test_a_connection_that_is_cut_in_the_middle_of_a_file_goes_on_where_it_was(node_0, folder, monkeypatch):
    monkeypatch.setattr(intake, "LAST_S", 60)
    size = 50 << 20
    (folder / "output").mkdir()
    (folder / "output/model.pt").write_bytes(os.urandom(1 << 20) * (size >> 20))
    proxy = Proxy(node_0.port, [10 << 20, 17 << 20, 3 << 20])
    assert deliver(sender(proxy.port), folder, GIB) == ()
    assert digest(node_0.run / "node-1/output/model.pt") == digest(folder / "output/model.pt")
    assert node_0.connections == 4
    assert proxy.passed < size + (12 << 20), "what had come was sent again"
    proxy.close()


def test_a_connection_that_always_breaks_is_given_up_with_a_note_and_what_came_has_a_name(node_0, folder, monkeypatch):
    monkeypatch.setattr(delivering, "TRIES", 3)
    (folder / "output").mkdir()
    (folder / "output/model.pt").write_bytes(os.urandom(1 << 20))
    proxy = Proxy(node_0.port, [400_000] + [0] * 20)
    notes = deliver(sender(proxy.port), folder, GIB)
    assert len(notes) == 1
    assert "output/model.pt was not brought to node 0" in notes[0]
    assert "broke 3 times in a row" in notes[0]
    assert f"beta:{folder}" in notes[0]
    assert node_0.intake.end() == ("node 1: output/model.pt came to node 0 in part: output/model.pt.incomplete",)
    part = (node_0.run / "node-1/output/model.pt.incomplete").read_bytes()
    assert part
    assert (folder / "output/model.pt").read_bytes().startswith(part)
    proxy.close()


def test_a_node_0_that_falls_silent_is_given_up_in_time(folder, monkeypatch):
    monkeypatch.setattr(delivering, "TRIES", 2)
    monkeypatch.setattr(delivering, "SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (note,) = deliver(sender(silent.getsockname()[1]), folder, GIB)
    assert "did not answer for 0.2 s" in note


def test_the_second_signal_ends_it_at_once_and_the_first_does_not(node_0, folder, monkeypatch):
    monkeypatch.setattr(delivering, "SILENCE_S", 600.0)
    interrupt = Interrupt()
    interrupt.set("SIGINT came")
    assert deliver(sender(node_0.port, interrupt), folder, GIB) == ()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Timer(0.2, interrupt.set, ["SIGINT came"]).start()
        (note,) = deliver(sender(silent.getsockname()[1], interrupt), folder, GIB)
    assert "a second signal came" in note


def test_a_second_signal_on_node_0_ends_what_others_bring(node_0, folder):
    (folder / "blob").write_bytes(os.urandom(8 << 20))
    interrupt = Interrupt()
    with impatient(interrupt, {IMPATIENT: node_0.intake.stop}):
        interrupt.set("SIGINT came")
        interrupt.set("SIGINT came")
        deadline = time.monotonic() + 60
        while not node_0.intake._stopped and time.monotonic() < deadline:
            time.sleep(0.01)
        notes = deliver(sender(node_0.port), folder, GIB)
    assert len(notes) == 1
    assert "2 files were not brought to node 0: node 0 was told not to wait for it" in notes[0]


def test_nothing_is_tried_where_node_0_is_lost(folder):
    lost = sender(1)
    lost.link.failure = Failure(kind="node lost", text="node 0 was lost", node=0)
    (note,) = deliver(lost, folder, GIB)
    assert "node 0 was lost" in note


def test_limits_are_kept_and_what_stays_is_named(node_0, folder, monkeypatch):
    monkeypatch.setattr(cargo, "FILE_LIMIT", 5000)
    (folder / "output").mkdir()
    for size in (10, 4000, 4500, 6000):
        (folder / f"output/{size}").write_bytes(b"x" * size)
    notes = deliver(sender(node_0.port), folder, 9000 + 4500)
    there = node_0.run / "node-1"
    assert (there / "console.log").stat().st_size == 9000, "logs are whole, whatever their size"
    assert sorted(path.name for path in (there / "output").iterdir()) == ["10", "4000"]
    assert ["output/4500" in notes[0], "collect_limit" in notes[0]] == [True, True]
    assert ["output/6000" in notes[1], "for a file" in notes[1]] == [True, True]
    assert "0" in deliver(sender(node_0.port), folder, 0)[0]


def test_node_0_keeps_its_own_limit_whatever_a_node_thinks(node_0, folder):
    node_0.intake.open(node_0.run, 100)
    (note,) = deliver(sender(node_0.port), folder, GIB)
    assert "node 0 takes at most" in note
    assert not (node_0.run / "node-1/console.log").exists()


def test_a_file_that_cannot_be_read_or_shrinks_does_not_keep_the_others(node_0, folder, monkeypatch):
    (folder / "output").mkdir()
    (folder / "output/gone").write_text("soon")
    (folder / "output/short").write_bytes(b"x" * 1000)
    survey = cargo.survey

    def and_then(*args):
        found = survey(*args)
        (folder / "output/gone").unlink()
        (folder / "output/short").write_bytes(b"x")
        (folder / "output/late").write_text("")
        return found

    monkeypatch.setattr(delivering, "survey", and_then)
    notes = deliver(sender(node_0.port), folder, GIB)
    assert len(notes) == 2
    assert "No such file" in notes[0] or "No such file" in notes[1]
    assert any("became shorter" in note for note in notes)
    assert digest(node_0.run / "node-1/console.log") == digest(folder / "console.log")


def raw(node_0, data):
    """What node 0 answers to these bytes."""
    answer = b""
    connection = socket.create_connection(("127.0.0.1", node_0.port), timeout=60)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(4096):
            answer += chunk
    return answer


def sent(name, content=b"evil", kind="file", link=""):
    checksum = line_of({"sha256": hashlib.sha256(content).hexdigest()})
    announced = line_of({"name": name, "kind": kind, "size": len(content), "mode": 0o7777, "link": link})
    return announced + (pack(content) + pack(b"") + checksum if kind == "file" else b"")


@pytest.mark.parametrize("name", ["../../x", "../node-0/x", "/tmp/x", "a/../../x", ".x.part", "a/\0"])
def test_a_hostile_name_is_refused_and_nothing_is_written(node_0, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    assert b"refuse" in raw(node_0, sent(name))
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "node-1") == before


def test_nothing_is_written_through_a_link_that_was_brought(node_0, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/known").write_text("mine")
    bytes_sent = sent("way", b"", "link", str(tmp_path / "outside")) + sent("way/known") + sent("way/new")
    answers = raw(node_0, bytes_sent)
    assert b'"done":true' in answers
    assert b"refuse" in answers
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["known"]
    assert (tmp_path / "outside/known").read_text() == "mine"
    raw(node_0, sent("file", b"", "link", str(tmp_path / "outside/known")) + sent("file"))
    assert (tmp_path / "outside/known").read_text() == "mine"
    assert (node_0.run / "node-1/file").read_text() == "evil", "the link itself is replaced"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 5000,
        b"[]\n",
        b"x" * 200_000,
        header(Item("a", "file", 10)) + b"\x07\xff\xff\xff\xff",
        header(Item("a", "file", 10)) + b"\x01\x00\x00\x00\x04abcd",
        header(Item("a", "file", 4)) + pack(b"longer than that") + pack(b"") + b"{}\n",
        header(Item("a", "file", 4)) + pack(b"four") + pack(b"") + b"{}\n",
        header(Item("a", "file", 4)) + pack(b"four") + pack(b"") + b"nonsense\n",
    ],
)
def test_nonsense_ends_its_connection_and_nothing_else(node_0, folder, data):
    raw(node_0, data)
    assert not (node_0.run / "node-1/a").exists()
    assert deliver(sender(node_0.port), folder, GIB) == ()
    assert digest(node_0.run / "node-1/console.log") == digest(folder / "console.log")


def test_a_node_that_dials_again_takes_the_place_of_its_dead_connection(node_0, folder):
    with socket.create_connection(("127.0.0.1", node_0.port)) as dead:
        dead.sendall(header(Item("console.log", "file", 9000)) + pack(b"one line\n"))
        deadline = time.monotonic() + 60
        while not list(node_0.run.glob("node-1/.*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert deliver(sender(node_0.port), folder, GIB) == ()
    assert digest(node_0.run / "node-1/console.log") == digest(folder / "console.log")


def test_a_disk_that_fills_up_half_way_is_told_and_the_rest_still_comes(node_0, folder, monkeypatch):
    # a limit of this process on the size of files stands for the disk: the write really fails
    import resource
    import signal

    (folder / "output").mkdir()
    (folder / "output/large").write_bytes(os.urandom(3 << 20))
    (folder / "zlast").write_text("small")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        (note,) = deliver(sender(node_0.port), folder, GIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "output/large was not brought to node 0: node 0 could not write it: File too large" in note
    assert (node_0.run / "node-1/zlast").read_text() == "small"
    assert not list(node_0.run.glob("node-1/.*.part"))


def test_files_that_stay_for_one_reason_are_one_line():
    (note,) = cargo.remarks([("console.log", "node 0 was lost"), ("host.json", "node 0 was lost")], "beta:/r")
    assert note == "2 files were not brought to node 0: node 0 was lost; they lie in beta:/r: console.log, host.json"
    assert len(cargo.remarks([("a", "x"), ("b", "y")], "beta:/r")) == 2


def test_a_disk_without_room_is_told_before_a_byte_is_sent(node_0, folder, monkeypatch):
    monkeypatch.setattr(Shelf, "room_for", lambda self, size: size < 100)
    (folder / "small").write_text("x")
    proxy = Proxy(node_0.port, [])
    (note,) = deliver(sender(proxy.port), folder, GIB)
    assert "console.log was not brought to node 0: the disk of node 0 has no room for it" in note
    assert (node_0.run / "node-1/small").exists()
    assert proxy.passed < 2000
    proxy.close()


def test_survey_puts_logs_first_and_small_output_before_large(tmp_path):
    for name, size in {"output/b": 5, "output/a": 9, "host.json": 1, "ranks/rank-0.log": 3, "console.log": 50}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    os.mkfifo(tmp_path / "output/pipe")
    found = cargo.survey(Path(tmp_path), GIB)
    names = [item.name for item in found.items]
    assert names == ["console.log", "ranks/rank-0.log", "host.json", "output/b", "output/a"]
    assert found.left == (("output/pipe", "a FIFO"),)


def test_a_disk_that_others_fill_meanwhile_keeps_room_for_the_record(node_0, folder, monkeypatch):
    (folder / "blob").write_bytes(os.urandom(4 << 20))
    asked = []

    def room_for(_shelf, size):
        asked.append(size)
        return len(asked) < 6

    monkeypatch.setattr(Shelf, "room_for", room_for)
    (note,) = deliver(sender(node_0.port), folder, GIB)
    assert "blob" in note
    assert "the disk of node 0 has no room for it" in note
    assert not list(node_0.run.glob("node-1/.*.part"))
