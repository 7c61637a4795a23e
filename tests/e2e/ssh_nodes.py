"""Nodes that only ssh reaches: an sshd each, no madrun, nothing of this repository; and the host that reaches them.

The head is this machine with a home, an ssh and a configuration of the bed's own: `n0`, `n1` and so on are its hosts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from e2e_parts import ROOT, until
from three_nodes import JOB_IMAGE, Kind, Node, Started, nodes

# sshd_config(5); the key of a host stays on its disk, so that it is known again after a power cut.
_BOOT = """
mkdir -p /run/sshd /root/.ssh
chmod 700 /root /root/.ssh
sed -i 's/^root:[^:]*:/root:x:/' /etc/passwd
(umask 077; echo 'root:$1$no$password:20000::::::' >/etc/shadow)
cat >/root/.ssh/authorized_keys <<'KEY'
{key}
KEY
[ -e /node/host_key ] || ssh-keygen -q -t ed25519 -N '' -f /node/host_key
cat >/run/sshd_config <<'CONFIG'
HostKey /node/host_key
PidFile /run/sshd.pid
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
MaxStartups 3:50:12
Subsystem sftp internal-sftp
CONFIG
/usr/sbin/sshd -f /run/sshd_config -E /node/sshd.log
"""
# What a node runs by itself, and what its engine starts for a moment.
_OWN = ("sshd", "dockerd", "containerd", "docker-containerd", "runc", "docker-runc", "sleep", "bash /node")


@dataclass
class Head:
    """This machine as the host on which madrun is typed: `shared` holds what started commands print."""

    shared: Path
    repository: Path
    env: dict[str, str]
    number: str = "head"

    def enter(self, words: Sequence[str], cwd: str = "") -> list[str]:
        """The words as a command in the repository, with this environment and no other."""
        named = [f"{name}={value}" for name, value in self.env.items()]
        return ["env", "-i", f"--chdir={cwd or self.repository}", *named, *words]


@dataclass
class SshBed:
    """Nodes by ssh. `folder` is the head's repository; `mark` a word on the command line of stubborn children."""

    nodes: list[Node]
    base: Path
    mark: str
    started: list[Started] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The repository on the head."""
        return self.base / "repository"

    @property
    def home(self) -> Path:
        """HOME on the head."""
        return self.base / "home"

    @property
    def names(self) -> list[str]:
        """The hosts as ssh knows them, in the order of the nodes."""
        return [f"n{node.number}" for node in self.nodes]

    @property
    def hosts(self) -> str:
        """All of them as a word for --hosts."""
        return ",".join(self.names)

    @property
    def env(self) -> dict[str, str]:
        """The environment of what is typed on the head."""
        path = f"{self.base}/bin:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}

    def lay_out(self) -> None:
        """The head's files: its configuration of ssh, and an empty repository."""
        for folder in (self.home, self.folder / "models", self.base / "bin", self.base / "said"):
            folder.mkdir(parents=True, exist_ok=True)
        known = "".join(
            f"{node.address} {(node.shared / 'host_key.pub').read_text().rsplit(' ', 1)[0]}\n" for node in self.nodes
        )
        (self.base / "known").write_text(known)
        program = self.base / "bin/ssh"
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {self.base}/config "$@"\n')
        program.chmod(0o755)
        defaults = {"User": "root", "IdentitiesOnly": "yes", "StrictHostKeyChecking": "ask"}
        defaults |= {"UserKnownHostsFile": f"{self.base}/known", "GlobalKnownHostsFile": "/dev/null"}
        (self.base / "config").write_text(_block("*", defaults))
        for node in self.nodes:
            self.alias(f"n{node.number}", HostName=node.address)

    def alias(self, name: str, **options: str) -> str:
        """One more name in the head's ssh_config, with these options besides those of every host."""
        config = self.base / "config"
        options = ({"IdentityFile": _key(self.nodes[0])} if self.nodes else {}) | options
        config.write_text(_block(name, options) + config.read_text())
        return name

    def add(self, name: str, text: str, /, **card: Any) -> None:
        """A card in the head's repository; MARK in its script is the mark of this bed."""
        home = self.folder / "models" / name
        home.mkdir(parents=True, exist_ok=True)
        data = {"name": name, "script": "run.sh", "images": {"cpu": {"image": JOB_IMAGE}}} | card
        (home / "model.yaml").write_text(yaml.safe_dump(data))
        (home / "run.sh").write_text(text.replace("MARK", self.mark))

    def madrun(self, *words: str, terminal: bool = False, **env: str) -> Started:
        """`madrun WORDS` on the head, in a session of its own; killed at the end of the test."""
        head: Any = Head(self.base / "said", self.folder, {**self.env, **env})
        self.started.append(Started(head, [sys.executable, "-m", "madrun", *words], terminal))
        return self.started[-1]

    def ssh(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`ssh WORDS` on the head, as its user would type it."""
        return subprocess.run(
            ["ssh", *words],
            env=self.env | {"PATH": self.env["PATH"]},
            executable=f"{self.base}/bin/ssh",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def left(self) -> list[str]:
        """What runs on the nodes besides what a node runs by itself, and ssh of this bed on the head."""
        found = [f"{name}: {words}" for name, words in self._foreign()]
        for node in self.nodes:
            ours = [one for one in node.containers() if "madrun.run" in one["Labels"]] if node.kind.engine else []
            found += [f"n{node.number}: {one['Names'][0]} ({one['State']})" for one in ours]
        return found

    def _foreign(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            for pid in node.processes():
                words = _command(pid)
                program = words.partition(" ")[0].rpartition("/")[2]
                if words and not program.startswith(_OWN) and not words.startswith(_OWN):
                    yield f"n{node.number}", words
        for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
            words = _command(int(entry))
            if f"-F {self.base}/config" in words:
                yield "head", words

    def gone(self, seconds: float = 60) -> None:
        """Returns when nothing is left anywhere; fails with what there still is."""
        with suppress(AssertionError):
            until(lambda: not self.left(), seconds, "the end")
        assert not (left := self.left()), left

    def clean(self) -> None:
        """Leaves the nodes as they were found; the head's folder goes with the test."""
        for started in self.started:
            started.kill()
        for node in self.nodes:
            node.clean()
            node.run("bash", "-c", "rm -rf /root/.cache /tmp/madrun* /tmp/.madrun* /dev/shm/madrun*")


def _block(name: str, options: dict[str, str]) -> str:
    return f"Host {name}\n" + "".join(f"  {key} {value}\n" for key, value in options.items())


def _key(node: Node) -> str:
    """The private key of the bed, which lies beside its nodes."""
    return str(node.shared.parent.parent / "key")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@contextmanager
def ssh_nodes(
    client: Any, count: int = 3, *, engine: bool = True, image: bool = False, system: Path | None = None
) -> Iterator[list[Node]]:
    """So many bare nodes with an sshd that answers: with an engine or none, with the job's image in it or none."""
    key = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bed", "-f", f"{key}/key"]
        subprocess.run(words, stdin=subprocess.DEVNULL, check=True)
        boot = _BOOT.format(key=Path(f"{key}/key.pub").read_text().strip())
        with nodes(client, count, system, kind=Kind(engine=engine, image=image, bare=True, boot=boot)) as made:
            shutil.copy(f"{key}/key", _key(made[0]))
            yield made
    finally:
        shutil.rmtree(key, ignore_errors=True)


@contextmanager
def ssh_bed(made: list[Node], base: Path) -> Iterator[SshBed]:
    """A head of its own for these nodes, which are left clean."""
    bed = SshBed(made, base, f"mark-{base.name}")
    bed.lay_out()
    try:
        yield bed
    finally:
        bed.clean()
