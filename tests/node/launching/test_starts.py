"""A start goes from madrun-launch on node 0 over the control channel into the box of a node that holds, and back."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

import madrun.runners
from madrun.node.launching import hold
from madrun.node.launching.head import Dispatcher, Launches
from madrun.node.launching.hold import Holder, script

HERE = Path(madrun.runners.__file__).parent
PATH = os.environ["PATH"]
# What the driver does with a line `launch NAME`.
DRIVER = 'bash "$0/launch/$1.sh" >"$0/launch/$1.out" 2>&1; echo "$?" >"$0/launch/$1.code"'
# Plays sshd and its client: who enters is started as sshd would, and is told what was sent.
FAKES = {
    "ssh-keygen": 'for last; do :; done; echo private >"$last"; echo "ssh-ed25519 AAAA$RANDOM madrun" >"$last.pub"',
    "sshd": 'echo "Server listening on 127.0.0.1."; exec sleep 30 >/dev/null',
    "ssh": 'for last; do :; done; echo "$@" >"$CALLED"; '
    'exec env -i PATH="$PATH" SSH_ORIGINAL_COMMAND="$last" bash "$FAR/bin/madrun-sshd" --enter',
}


class Nodes:
    """Node 0 with its dispatcher, and node 1 that holds; each has a box and variables of its own."""

    def __init__(self, channel, folder):
        self.boxes = [self._box(folder / f"node-{rank}/box") for rank in range(2)]
        self.own = {"PATH": f"{PATH}:{self.boxes[1]}/bin", "MADRUN_BOX": str(self.boxes[1]), "OF_NODE": "1"}
        self.before = {"PATH": PATH, "MADRUN_BOX": str(self.boxes[0]), "OF_NODE": "0", "MY_TOKEN": "***"}
        text = "".join(f"{name}={value}\0" for name, value in self.before.items())
        (self.boxes[0] / "environment").write_text(text)
        self.launches, self.running, self.over = Launches(), [], threading.Event()
        join = channel(2, doors={"launch": self.launches.door})
        self.members = [join(0), join(1)]
        self.dispatcher = Dispatcher(
            self.boxes[0] / "launch", self.launches, {"localhost": 0, "far": 1}, ("127.0.0.1", "127.0.0.1")
        )
        self.dispatcher.start()
        connection = self.members[1].dial("launch")
        self.holder = Holder(connection, self.boxes[1] / "launch", self.drive)

    def _box(self, box):
        for name in ("launch", "bin", "work"):
            (box / name).mkdir(parents=True)
        for name, source in {"madrun-launch": "mpi-launch.sh", "madrun-sshd": "mpi-sshd.sh"}.items():
            shutil.copy(HERE / source, box / "bin" / name)
            (box / "bin" / name).chmod(0o755)
        return box

    def drive(self, line):
        if line == "over":
            self.over.set()
            return
        words = ["bash", "-c", DRIVER, str(self.boxes[1]), line.removeprefix("launch ")]
        self.running.append(subprocess.Popen(words, env=self.own, start_new_session=True))

    def launch(self, *words, **exported):
        """Runs madrun-launch on node 0 to its end."""
        head = self.boxes[0]
        env = {**self.before, "MY_TOKEN": "own", "PATH": f"{PATH}:{head}/bin", **exported}
        command = ["bash", str(head / "bin/madrun-launch"), *words]
        return subprocess.run(command, cwd=head / "work", env=env, capture_output=True, text=True, timeout=60)

    def close(self):
        self.holder.close()
        self.dispatcher.end()
        for process in self.running:
            subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], capture_output=True, check=False)
            process.wait()


@pytest.fixture
def nodes(channel, tmp_path):
    made = Nodes(channel, tmp_path)
    yield made
    made.close()


def test_what_is_exported_goes_along_and_what_belongs_to_the_node_stays(nodes):
    text = 'echo "$MINE|$OF_NODE|$MY_TOKEN|$OMPI_X|$PWD|$HERE|$PATH"; exit 7'
    more = {"MINE": "a 'b'\nc", "OMPI_X": "head", "MY_TOKEN": "secret", "HERE": f"{nodes.boxes[0]}/work/x"}
    done = nodes.launch("-x", "-l", "me", "far", text, **more)
    far = nodes.boxes[1]
    assert done.stderr == f"a 'b'\nc|1|||{far}/work|{far}/work/x|{PATH}:{far}/bin\n"
    assert (done.returncode, done.stdout) == (7, "")


def test_nothing_of_what_was_exported_stays_in_a_file(nodes):
    assert nodes.launch("far", "true", NEW_SECRET="do-not-keep-me").returncode == 0
    files = [path for box in nodes.boxes for path in box.rglob("*") if path.is_file()]
    assert not [path for path in files if b"do-not-keep-me" in path.read_bytes()]


def test_what_a_start_has_said_comes_back_however_much_it_is(nodes):
    done = nodes.launch("far", "for i in {1..9000}; do echo a line of a start that says a lot; done; exit 3")
    assert (done.returncode, done.stderr.count("says a lot")) == (3, 9000)
    assert nodes.launch("far", "exit 4").returncode == 4


def test_a_node_that_cannot_take_a_start_says_so_and_takes_the_next(nodes):
    folder = nodes.boxes[1] / "launch"
    folder.rename(nodes.boxes[1] / "gone")
    done = nodes.launch("far", "true")
    assert (done.returncode, done.stderr) == (
        255,
        f"madrun-launch: {folder} takes no start: No such file or directory\n",
    )
    folder.mkdir()
    assert nodes.launch("far", "exit 4").returncode == 4


def test_variables_of_any_name_and_any_bytes_come_as_they_are(nodes):
    given = {"name": "llama", "MADRUNX": "a", "ODD": os.fsdecode(b"\xff\n'")}
    done = nodes.launch("far", 'printf %s "$name" "$ODD" | od -An -c | tr -d " \n"', **given)
    assert done.stderr == "llama377\\n'\n"


def test_a_link_in_place_of_what_was_said_leads_nowhere(nodes, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    done = nodes.launch("far", f'ln -sf {secret} "$MADRUN_BOX/launch/$(basename "$0" .sh).out"; exit 5')
    assert (done.returncode, done.stderr) == (5, "")
    (nodes.boxes[0] / "launch/1.2.out").symlink_to(secret)
    nodes.dispatcher._waiting["1.2"] = 1
    nodes.dispatcher._answered({"type": "ended", "name": "1.2", "text": "words", "code": 0})
    assert secret.read_text() == "of the host"


def test_a_holding_that_nobody_can_end_any_more_is_lost_and_one_that_is_over_is_not(nodes, monkeypatch):
    monkeypatch.setattr(hold, "LOST_S", 0.0)
    assert not nodes.holder.lost
    loop, writer = nodes.launches._writers[1]
    loop.call_soon_threadsafe(writer.transport.abort)
    while not nodes.holder.lost:
        nodes.over.wait(0.01)
    assert nodes.members[1].failure is None


def test_a_host_that_is_no_node_is_refused_with_those_that_are(nodes):
    done = nodes.launch("stranger", "true")
    assert done.returncode == 255
    assert done.stderr == "madrun-launch: stranger is no node of this run; its nodes are: localhost, far\n"
    own = nodes.launch("localhost", "true")
    assert (own.returncode, own.stderr) == (255, "madrun-launch: node 0 does not wait for starts\n")


def test_whoever_waits_hears_when_the_node_is_gone(nodes):
    waiting = threading.Thread(target=lambda: said.append(nodes.launch("far", "sleep 30")))
    said = []
    waiting.start()
    while not nodes.running:
        waiting.join(0.01)
    nodes.holder.close()
    waiting.join()
    assert (said[0].returncode, said[0].stderr) == (255, "madrun-launch: node 1 is gone\n")


def test_starts_at_the_same_time_end_each_with_its_own_code(nodes):
    codes = {}
    work = [
        threading.Thread(target=lambda code=code: codes.update({code: nodes.launch("far", f"exit {code}").returncode}))
        for code in (3, 4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert codes == {3: 3, 4: 4}
    assert nodes.holder.started == 2


def test_the_end_of_the_script_ends_the_holding(nodes):
    nodes.dispatcher.over()
    assert nodes.over.wait(60)
    assert not nodes.holder.lost


@pytest.mark.slow
def test_by_ssh_the_words_run_with_the_environment_of_the_start_and_a_key_of_its_own(nodes, tmp_path):
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name, text in FAKES.items():
        (fakes / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (fakes / name).chmod(0o755)
    nodes.own["PATH"] = f"{fakes}:{nodes.own['PATH']}"
    called, far = tmp_path / "called", str(nodes.boxes[1])
    given = {"MADRUN_MPI_SSH": "1", "CALLED": str(called), "FAR": far, "MINE": "a b"}
    given["PATH"] = f"{fakes}:{PATH}"
    for turn in range(2):
        done = nodes.launch("far", 'echo "$MINE|$OF_NODE|$PWD"', **given)
        assert (done.returncode, done.stdout) == (0, f"a b|1|{far}/work\n"), done.stderr
        words = called.read_text()
        for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=far", "ServerAliveInterval=2"):
            assert f"-o {option} " in words
        allowed = (nodes.boxes[1] / "ssh/allowed").read_text().splitlines()
        assert len(allowed) == turn + 1
        assert all(line.startswith("restrict,command=") for line in allowed)
    assert (nodes.boxes[1] / "ssh/config").read_text().splitlines()[1] == "ListenAddress 127.0.0.1"
    keys = [path for path in (nodes.boxes[0] / "ssh").iterdir() if path.suffix not in (".pub", ".hosts")]
    assert len(keys) == 2
    assert nodes.boxes[0].joinpath("ssh").stat().st_mode & 0o77 == 0
    others = [path for path in nodes.boxes[1].rglob("*") if path.is_file() and path.name != "host"]
    assert not [path for path in others if "private" in path.read_text()]


def test_without_containers_paths_below_node_zeros_box_become_the_nodes_own(tmp_path):
    text = script(
        "/head/box/work", 'echo "$A $MADRUN_DIRECTORY"', {"A": "/head/box:/x", "MADRUN_HEAD_BOX": "/head/box"}
    )
    (tmp_path / "one.sh").write_text(text)
    env = {"PATH": PATH, "MADRUN_BOX": "/own & box"}
    done = subprocess.run(["bash", str(tmp_path / "one.sh")], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("/own & box:/x /own & box/work\n", "")
    assert not (tmp_path / "one.sh").exists()


def test_an_answer_counts_once_and_only_for_what_was_asked(tmp_path):
    launches = Launches()
    dispatcher = Dispatcher(tmp_path, launches, {})
    told = {"type": "ended", "text": "words", "code": 3}
    for name in ("1.2", "../1.2", 5):
        dispatcher._answered({**told, "name": name})
    assert not list(tmp_path.iterdir())
    dispatcher._waiting["1.2"] = 1
    dispatcher._answered({**told, "name": "1.2", "code": "3"})
    dispatcher._answered({**told, "name": "1.2"})
    dispatcher._answered({**told, "name": "1.2", "code": 4})
    assert (tmp_path / "1.2.code").read_text() == "3\n"
    assert (tmp_path / "1.2.out").read_text() == "words"
