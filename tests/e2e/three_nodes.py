"""Nodes of their own on one machine: each with an address, a name, processes, files and a docker engine of its own.

A node is a container whose system is this machine's own /usr, read-only, so that nothing is installed or downloaded;
its dockerd keeps its images in memory. What a test does in a node it does by `Node.run` and `Node.start`, which enter
the node's namespaces; a node's folder is seen here as `Node.folder` and there as `/bed`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from e2e_parts import ROOT, one_at_a_time, until
from node_systems import imported, job_system, no_system, node_system, saved
from plain_engine import PlainEngine

LABEL = "madrun.test.nodes"
JOB_IMAGE = "madrun-test/job:latest"
WORK = "/bed"
_BEDS = itertools.count()
# What the engine of a small machine may give, as docker 20.10 knows the names; --privileged is refused there.
_CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK "
    "IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST "
    "NET_RAW SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_NICE SYS_PACCT SYS_PTRACE "
    "SYS_RAWIO SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
)
_BOOT = """
start_engine() { exec dockerd --bip {bip} --iptables=false --ip6tables=false --storage-driver overlay2 \\
  -H unix:///var/run/docker.sock -H unix:///node/docker.sock >>/node/dockerd.log 2>&1; }
mkdir -p /sys/fs/cgroup/systemd
if [ -e /node/has_engine ]; then (start_engine) & fi
if [ -e /node/more.sh ]; then bash /node/more.sh && touch /node/booted; fi
while :; do sleep 1000 & wait $!; done          # as process 1 bash buries whatever loses its parent
"""


@dataclass(frozen=True)
class Kind:
    """What a node has; `bare` ones have neither this repository nor the python of the tests. `boot`: a bash script."""

    engine: bool = True
    image: bool = True
    bare: bool = False
    boot: str = ""


WHOLE = Kind()


@dataclass
class Node:
    """One node of the test bed; `pid` is that of its first process as this machine sees it."""

    number: int
    client: Any
    id: str
    folder: Path
    shared: Path
    pid: int = 0
    address: str = ""
    system: str = ""  # where in the node the files of the job's image stand; empty where they are in the archive
    kind: Kind = WHOLE
    started: list[Started] = field(default_factory=list)

    def enter(self, words: Sequence[str], cwd: str = WORK) -> list[str]:
        """The words as a command of this machine that runs them in the node."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i", f"--chdir={cwd}"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [*inside, f"PATH={path}", "HOME=/root", "LANG=C.UTF-8", f"PYTHONPATH={ROOT}", *words]

    def run(self, *words: str, timeout: float = 120, check: bool = True) -> str:
        """Standard output of a command in the node."""
        command = self.enter(words)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *words: str, terminal: bool = False) -> Started:
        """`madrun WORDS` in the node, in a session of its own, on a terminal where asked for."""
        self.started.append(Started(self, [sys.executable, "-m", "madrun", *words], terminal))
        return self.started[-1]

    @cached_property
    def engine(self) -> PlainEngine:
        """A client of the node's own engine."""
        return PlainEngine(self.shared / "docker.sock")

    def containers(self) -> list[dict[str, Any]]:
        """Every container in the node's engine, running or not; none where the node or its engine is off."""
        return self.engine.containers()

    def processes(self, mark: str = "") -> list[int]:
        """Processes of the node that are no zombies and, given a mark, have it as a word of their command line."""
        try:
            space = str(Path(f"/proc/{self.pid}/ns/net").readlink())
        except OSError:
            return []
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_of(pid, space, mark)]  # noqa: PTH208

    def power_off(self) -> None:
        """As if its cable were drawn: nothing in it gets a word any more."""
        self.client.kill(self.id)

    def power_on(self) -> None:
        """Boots it after `power_off`; it has its address and folder again, and an engine as `nodes` gave it one."""
        (self.shared / "booted").unlink(missing_ok=True)
        self.client.start(self.id)
        self.look()
        self.stand()

    def stand(self) -> None:
        """Returns when it has what its kind has: its boot script's work, an engine that answers, the job's image."""
        if self.kind.boot:
            until((self.shared / "booted").exists, 60, f"the boot script of node {self.number}")
        if self.kind.engine:
            self.await_engine()
        if self.kind.image:
            self.load_job()

    def load_job(self) -> None:
        """Loads the job's image into an engine that has none; with a `system`, its files become those of the image."""
        self.engine.load((self.shared / "job.tar").read_bytes())
        if self.system:
            self.run("bash", "-c", f"mount --bind {self.system} /var/lib/docker/overlay2/*/diff")

    def look(self) -> None:
        """Takes note of where the node is now."""
        seen = self.client.inspect_container(self.id)
        self.pid = int(seen["State"]["Pid"])
        (network,) = seen["NetworkSettings"]["Networks"].values()
        self.address = network["IPAddress"]

    def engine_pid(self) -> int:
        """The pid of the node's dockerd; 0 where none runs."""
        found = [pid for pid in self.processes() if _words(pid)[:1] == ["dockerd"]]
        return found[0] if found else 0

    def end_engine(self, number: int) -> None:
        """Sends the node's dockerd a signal."""
        os.kill(self.engine_pid(), number)

    def start_engine(self) -> None:
        """Starts a dockerd anew in the node, where none runs any more."""
        until(lambda: not self.engine_pid(), 60, "the end of the old dockerd")
        self.run("rm", "-f", "/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid")
        words = self.enter(["bash", "/node/engine.sh"])
        subprocess.run(words, stdin=subprocess.DEVNULL, check=True)
        self.await_engine()

    def await_engine(self) -> None:
        """Returns when the node's engine answers."""
        until(self.engine.answers, 120, f"the engine of node {self.number}")

    def clean(self) -> None:
        """Ends what a test has left in the node, containers and processes of madrun, and empties its folder."""
        for started in self.started:
            started.kill()
        self.started.clear()
        for container in self.containers():
            with suppress(RuntimeError):  # it goes by itself
                self.engine.remove(container["Id"])
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class Started:
    """A madrun that was started in a node; what it prints is kept here."""

    def __init__(self, node: Node, words: Sequence[str], terminal: bool) -> None:
        self.node = node
        self.file = node.shared / f"out-{time.monotonic_ns()}.txt"
        self._terminal: int | None = None
        with self.file.open("w") as target:
            source: int | None = subprocess.DEVNULL
            if terminal:
                self._terminal, source = os.openpty()
            self.child = subprocess.Popen(
                [*(["setsid", "--ctty", "--wait"] if terminal else []), *node.enter(words)],
                stdin=source,
                stdout=target,
                stderr=subprocess.STDOUT,
                start_new_session=not terminal,
            )
        if source is not None and source >= 0:
            os.close(source)

    @property
    def pid(self) -> int:
        """The pid of madrun itself, once what starts it has done so; 0 where it has ended."""
        end = time.monotonic() + 60
        while self.child.poll() is None and time.monotonic() < end:
            pid = self.child.pid
            while (words := _words(pid)) and words[0] in ("nsenter", "setsid", "env"):
                pid = _child_of(pid)
            if words:
                return pid
            time.sleep(0.01)
        return 0

    def signal(self, number: int) -> None:
        """Sends madrun a signal, where it has not ended."""
        if pid := self.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGCONT:
            os.kill(self.child.pid, number)  # nsenter stops with what it started

    def close_terminal(self) -> None:
        """As if the window were closed."""
        assert self._terminal is not None
        os.close(self._terminal)
        self._terminal = None

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.file.read_text()

    def wait(self, seconds: float) -> int:
        """Its exit code; as a shell tells it where a signal ended it."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"madrun on node {self.node.number} has not ended:\n{self.output}") from None
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """Ends it at once."""
        with suppress(OSError):
            for pid in filter(None, [self.pid, self.child.pid] if self.child.poll() is None else ()):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        self.child.wait(60)
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


def _words(pid: int) -> list[str]:
    """The command line of a process; empty where there is none, as there is of one that has ended."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return line.split("\0") if line else []


def _child_of(pid: int) -> int:
    """The one child of a process; 0 where it has none."""
    try:
        return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])
    except OSError:
        return 0


def _is_of(pid: int, space: str, mark: str) -> bool:
    try:
        if str(Path(f"/proc/{pid}/ns/net").readlink()) != space:  # containers of the node's engine share its network
            return False
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX" and (not mark or mark in _words(pid))


@contextmanager
def nodes(
    client: Any, count: int = 3, system: Path | None = None, binds: Sequence[str] = (), kind: Kind = WHOLE
) -> Iterator[list[Node]]:
    """So many nodes, with engines that answer and the job's image in each; nothing of them is left afterwards.

    `binds`: further folders of this machine in all of them, `here:there`.

    With `system`, a folder of this machine, the files of the job's image are those below it: an image of more than a
    gigabyte would take half a minute to load into each engine.
    """
    sweep(client)
    labels, bed = {LABEL: str(os.getpid())}, f"{next(_BEDS)}-{os.getpid()}"
    base = Path(tempfile.mkdtemp(prefix="madrun-nodes-"))
    made: list[Node] = []
    network = client.create_network(f"madrun-nodes-{bed}", driver="bridge", labels=labels)["Id"]
    image = imported(client, node_system(), f"madrun-test/node-{bed}")
    try:
        for number in range(count):
            made.append(_boot(client, (image, network, bed, system, binds, kind), base / str(number), number, labels))
        job = saved(client, no_system() if system else job_system(), JOB_IMAGE)
        for node in made:
            (node.shared / "job.tar").write_bytes(job)
            node.stand()
        yield made
    finally:
        for node in made:
            for started in node.started:
                started.kill()
            client.remove_container(node.id, force=True, v=True)
        client.remove_network(network)
        client.remove_image(image, force=True)
        shutil.rmtree(base, ignore_errors=True)


def _boot(
    client: Any,
    made_of: tuple[str, str, str, Path | None, Sequence[str], Kind],
    base: Path,
    number: int,
    labels: dict[str, str],
) -> Node:
    image, network, bed, system, binds, kind = made_of
    folder, shared = base / "work", base / "node"
    folder.mkdir(parents=True)
    shared.mkdir()
    boot = _BOOT.replace("{bip}", f"10.201.{number}.1/24")
    (shared / "boot.sh").write_text(boot)
    (shared / "engine.sh").write_text(boot.partition("if [ -e")[0] + "(start_engine) </dev/null &\n")
    if kind.engine:
        (shared / "has_engine").touch()
    if kind.boot:
        (shared / "more.sh").write_text(kind.boot)
    read_only = {"/usr"} if kind.bare else {"/usr", sys.prefix, sys.base_prefix, str(ROOT)}
    mounted = [path for path in sorted(read_only) if not any(path != one and _below(path, one) for one in read_only)]
    host = client.create_host_config(
        binds=[*(f"{path}:{path}:ro" for path in mounted), f"{folder}:{WORK}", f"{shared}:/node"]
        + ([f"{system}:/system:ro"] if system else [])
        + ["/sys/fs/cgroup:/sys/fs/cgroup:rw", *binds],
        tmpfs={"/var/lib/docker": "size=6g,exec,suid,dev", "/tmp": "exec", "/run": "exec"},
        cap_add=_CAPABILITIES.split(),
        security_opt=["seccomp=unconfined"],
        device_cgroup_rules=["a *:* rwm"],
        network_mode=network,
    )
    host |= {"MaskedPaths": [], "ReadonlyPaths": []}  # systempaths=unconfined
    name = f"madrun-node-{bed}-{number}"
    made = client.create_container(
        image, ["bash", "/node/boot.sh"], hostname=f"n{number}", name=name, labels=labels, host_config=host
    )
    node = Node(number, client, made["Id"], folder, shared, system="/system" if system else "", kind=kind)
    try:
        client.start(node.id)
        node.look()
    except BaseException:
        client.remove_container(node.id, force=True, v=True)
        raise
    return node


def _below(path: str, parent: str) -> bool:
    return Path(path).is_relative_to(parent)


def sweep(client: Any) -> None:
    """Removes nodes whose tests were killed, and what else has their label; what goes by itself meanwhile has gone."""
    from docker.errors import APIError

    with one_at_a_time("sweep"):
        for one in client.containers(all=True, filters={"label": LABEL}):
            if not _lives(int(one["Labels"][LABEL])):
                with suppress(APIError):
                    client.remove_container(one["Id"], force=True, v=True)
        for network in client.networks(filters={"label": LABEL}):
            if not _lives(int(network["Labels"][LABEL])):
                with suppress(APIError):
                    client.remove_network(network["Id"])
        for image in client.images(name="madrun-test/node-*"):
            if not any(_lives(int(tag.partition(":")[0].rpartition("-")[2])) for tag in image["RepoTags"] or ()):
                with suppress(APIError):
                    client.remove_image(image["Id"], force=True)


def _lives(pid: int) -> bool:
    return bool(_words(pid))
