"""A SLURM of the test bed: a head with slurmctld, slurmdbd and its database, and nodes with slurmd and an engine each.

All of them see one folder, `Cluster.shared` here and `/shared` there. Their names are of this process alone, for slurmd
names cgroups of this machine after them: so two such beds can stand at once. Their configuration, their key of munge
and what their daemons write are in memory of their own, so that nothing of it outlives them, and this machine's own
SLURM, if it has one, is never asked. What stands in slurm.conf(5) and slurmdbd.conf(5) is said there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_parts import until
from runner_image import nodes_with_runners
from three_nodes import JOB_IMAGE, Node, Started

SHARED = "/shared"
MADRUN = (sys.executable, "-m", "madrun")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sbatch")
KILL_WAIT_S, SLURMD_TIMEOUT_S = 30, 10
_SELDOM_S = 0.1
# In the node: /etc of the node is its own, /run is in memory. Debian's programs look in /etc/slurm and /run/munge.
_DAEMONS = """
set -e
hostname "$2"
mkdir -p /etc/slurm /etc/munge /run/munge /run/mysqld /var/lib/munge /var/log/munge /var/spool/slurm{d,ctld}
cp /node/slurm/*.conf /etc/slurm/
chmod 600 /etc/slurm/slurmdbd.conf
cp /node/slurm/munge.key /etc/munge/
grep -qF -f /node/slurm/hosts /etc/hosts || cat /node/slurm/hosts >> /etc/hosts
chmod 400 /etc/munge/munge.key
chown -R munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
setpriv --reuid munge --regid munge --init-groups munged --num-threads 2
case "$1" in head)
  mkdir -p /run/db
  # slurmdbd has procedures of its own in the database, which keeps them in a table that an empty one has not.
  { echo 'create database mysql;'; echo 'use mysql;'
    grep '^CREATE TABLE IF NOT EXISTS proc ' /usr/share/mysql/mysql_system_tables.sql; } >/run/db.sql
  mariadbd --no-defaults --user=root --datadir=/run/db --socket=/run/mysqld/mysqld.sock --skip-networking \\
    --init-file=/run/db.sql --skip-grant-tables --innodb-log-file-size=4M \\
    --innodb-buffer-pool-size=16M --innodb-flush-log-at-trx-commit=0 >/node/slurm/mariadbd.log 2>&1 </dev/null &
  for wait in $(seq 1200); do [ -S /run/mysqld/mysqld.sock ] && break; sleep 0.05; done
  slurmdbd </dev/null
  for wait in $(seq 1200); do grep -qs 'slurmdbd version .* started' /node/slurm/slurmdbd.log && break; sleep 0.05; done
  while read -r line; do sacctmgr -i $line </dev/null >/dev/null; done </node/slurm/accounts
  slurmctld </dev/null
esac
case "$1" in node) slurmd </dev/null ;; esac
"""
_SLURM_CONF = """
ClusterName=bed
SlurmctldHost={head}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=20
MpiDefault=none
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=500
ReturnToService=2
SlurmdTimeout={slurmd_timeout}
SlurmctldTimeout=10
KillWait={kill_wait}
UnkillableStepTimeout=120
MinJobAge=300
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/node/slurm/slurmctld.log
SlurmdLogFile=/node/slurm/slurmd.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={head}
AccountingStorageEnforce=associations,limits,qos
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=60:00 DefaultTime=5:00 PreemptMode=REQUEUE GraceTime=5
PartitionName=short Nodes={names} MaxTime=2:00 DefaultTime=1:00 PriorityTier=1 PreemptMode=OFF
PartitionName=urgent Nodes={names} MaxTime=60:00 PriorityTier=9 PreemptMode=OFF
"""
_SLURMDBD_CONF = """
DbdHost={head}
DbdAddr={address}
SlurmUser=root
AuthType=auth/munge
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StoragePass=none
StorageLoc=slurm
PidFile=/run/slurmdbd.pid
LogFile=/node/slurm/slurmdbd.log
"""
# What sacctmgr(1) is told: the cluster, two accounts of which one is the users', a QOS with a limit, one for nobody.
_ACCOUNTS = """\
add qos small MaxTRESPerJob=node=1 Flags=DenyOnLimit
add qos other
add cluster bed qos=normal,small defaultqos=normal
add account bench,other
add user {users} account=bench
"""
_CGROUP_CONF = """
CgroupPlugin=cgroup/v1
CgroupAutomount=no
CgroupMountpoint=/sys/fs/cgroup
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=yes
"""


@dataclass
class Cluster:
    """A SLURM whose `head` computes nothing; every one of `nodes` does."""

    head: Node
    nodes: list[Node]
    shared: Path
    seconds: float = 0.0  # until all nodes were idle
    started: list[Started] = field(default_factory=list)

    @property
    def everyone(self) -> list[Node]:
        return [self.head, *self.nodes]

    @property
    def names(self) -> list[str]:
        """Of the nodes, as SLURM and they themselves have them."""
        return [name_of(node) for node in self.nodes]

    @property
    def hosts(self) -> str:
        """The same as SLURM writes them, `n[1-2]`."""
        return self.run("scontrol", "show", "hostlist", ",".join(self.names)).strip()

    def run(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        """What a command on the head prints on standard output."""
        return self.head.run(*words, check=check, timeout=timeout)

    def madrun(self, *words: str, cwd: str = SHARED, user: str = "", env: dict[str, str] | None = None) -> Started:
        """`madrun WORDS` on the head, in the shared folder."""
        variables = [f"{name}={value}" for name, value in (env or {}).items()]
        variables += ["HOME=/tmp", f"USER={user}"] if user else []
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        words = (*as_user, "env", f"--chdir={cwd}", *variables, *self.program(), *words)
        return self.command(*words)

    def program(self) -> tuple[str, ...]:
        """The words that start madrun on the head."""
        return MADRUN

    def command(self, *words: str, terminal: bool = False) -> Started:
        """A command on the head, that goes on while the test does."""
        self.started.append(Started(self.head, words, terminal))
        return self.started[-1]

    def add(self, name: str, text: str, /, **card: Any) -> None:
        """A card in the shared repository."""
        home = self.shared / "models" / name
        home.mkdir(parents=True, exist_ok=True)
        data = {"name": name, "script": "run.sh", "images": {"cpu": {"image": JOB_IMAGE}}} | card
        (home / "model.yaml").write_text(yaml.safe_dump(data))
        (home / "run.sh").write_text(text)

    def job(self, number: str | int) -> dict[str, str]:
        """What `scontrol show job` says of a job, by name; empty where it has forgotten it."""
        said = self.run("scontrol", "-o", "show", "job", str(number), check=False)
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def jobs(self) -> list[list[str]]:
        """Id, name, state and reason of every job that has not ended."""
        return [line.split("|") for line in self.run("squeue", "-h", "-a", "-o", "%i|%j|%T|%r").splitlines()]

    def sacct(self, number: str | int) -> list[str]:
        """State and exit code of a job that has ended, once the accounting has them: it is told beside all else."""
        words, found = ("sacct", "-n", "-P", "-X", "-j", str(number), "-o", "State,ExitCode"), [""]

        def is_told() -> bool:
            found[:] = self.run(*words).strip().split("|")
            return found[0] not in ("", "PENDING", "RUNNING")

        until(seldom(is_told), 60, f"the end of job {number} in the accounting")
        return found

    def until_state(self, number: str | int, *states: str, seconds: float = 60) -> None:
        """Returns when the job is in one of these states."""
        is_in = seldom(lambda: self.job(number).get("JobState") in states)
        until(is_in, seconds, f"job {number} to be {' or '.join(states)}")

    def until_idle(self, seconds: float = 60) -> None:
        """Returns when no job is left and every node is idle."""
        until(seldom(lambda: self._states() == ["idle"] * len(self.nodes)), seconds, "idle nodes")

    def _states(self) -> list[str]:
        return self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T", check=False).split()

    def records(self) -> list[dict[str, Any]]:
        """Every record below the shared results, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.shared.glob("results/runs/*/record.json"))]

    def launches(self) -> list[Path]:
        """The folders of the launches, oldest first."""
        return sorted(self.shared.glob("results/launches/*"), key=lambda path: path.stat().st_mtime)

    def containers(self) -> list[dict[str, Any]]:
        """Those of madrun on any node, running or not."""
        return [one for node in self.nodes for one in node.containers() if "madrun.run" in one["Labels"]]

    def left(self) -> list[str]:
        """What there still is of any job: jobs, containers, agents."""
        found = [" ".join(job) for job in self.jobs()]
        found += [f"{one['Names'][0]} ({one['State']})" for one in self.containers()]
        for node in self.nodes:
            found += [f"node {node.number}: process {pid}" for pid in node.processes("madrun")]
        return found

    def until_nothing_left(self, seconds: float = 60) -> None:
        """Returns when neither jobs, containers nor agents are left."""
        end = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(_SELDOM_S)
        assert not left, f"after {seconds} s there is still {left}"

    def container_env(self, node: Node) -> dict[str, str]:
        """The environment of the one container of madrun that runs on a node, as the job's first process has it."""
        (container,) = [one for one in node.containers() if "madrun.run" in one["Labels"]]
        seen = node.engine.inspect(container["Id"])
        return dict(word.split("=", 1) for word in seen["Config"]["Env"])

    def daemon(self, node: Node, name: str) -> int:
        """The pid of a daemon of that node, as this machine sees it; 0 where none runs."""
        for pid in node.processes():
            with suppress(OSError):  # it has just ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if Path(os.fsdecode(words[0])).name == name:
                    return pid
        return 0

    def end_daemon(self, node: Node, name: str, number: int = signal.SIGKILL) -> None:
        """Ends a daemon of that node and waits until it is gone."""
        os.kill(self.daemon(node, name), number)
        until(lambda: not self.daemon(node, name), 60, f"the end of {name}")

    def start_daemon(self, node: Node, name: str) -> None:
        """Starts a daemon of that node again."""
        node.run(name)

    def power_on(self, node: Node) -> None:
        """Boots a node anew, its slurmd too."""
        node.power_on()
        node.run("bash", "/node/slurm/start.sh", "node", name_of(node))

    def prepare(self) -> None:
        """Gives the shared repository its site file."""
        site = {"memlock": "default", "nofile": None, "grace": "1s", "slurm": {"poll_s": 0.5}}
        (self.shared / "madrun-site.yaml").write_text(yaml.safe_dump(site))

    def clean(self) -> None:
        """Ends what a test has left: jobs, commands, containers, files."""
        for started in self.started:
            started.kill()
        self.started.clear()
        if jobs := [job[0] for job in self.jobs()]:
            self.run("scancel", *jobs, check=False)
        for node in self.nodes:
            self.run("scontrol", "update", f"nodename={name_of(node)}", "state=resume", check=False)
            node.clean()
        self.head.clean()
        for entry in self.shared.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.until_idle()


def seldom(condition: Callable[[], bool]) -> Callable[[], bool]:
    """For what starts a program each time it is asked."""

    def slow() -> bool:
        time.sleep(_SELDOM_S)
        return condition()

    return slow


def name_of(node: Node) -> str:
    """The host name of a node of this process's cluster."""
    return f"b{os.getpid()}n{node.number}"


@contextmanager
def slurm_cluster(client: Any, image: str, count: int = 2) -> Iterator[Cluster]:
    """So many nodes and a head, all idle; their job image has the files of `image`. Nothing is left of it."""
    if missing := [name for name in PROGRAMS if shutil.which(name, path="/usr/bin:/usr/sbin") is None]:
        pytest.skip(f"needs SLURM: no {', '.join(missing)}; scripts/test.sh installs what is missing")
    shared = Path(tempfile.mkdtemp(prefix="madrun-shared-"))
    shared.chmod(0o1777)
    try:
        with nodes_with_runners(client, image, count + 1, (f"{shared}:{SHARED}",)) as made:
            cluster = Cluster(made[0], made[1:], shared)
            try:
                _start(cluster)
                yield cluster
            finally:
                for started in cluster.started:
                    started.kill()
                _end_daemons(cluster)
    finally:
        _remove_cgroups()
        shutil.rmtree(shared, ignore_errors=True)


def _start(cluster: Cluster) -> None:
    """Configures all of them and returns when every node is idle."""
    begun, key = time.monotonic(), os.urandom(128)
    head, names = cluster.head, ",".join(cluster.names)
    where = {"head": name_of(head), "address": head.address}
    lines = [f"NodeName={name_of(node)} NodeAddr={node.address} CPUs=4 RealMemory=4000" for node in cluster.nodes]
    texts = {
        "slurm.conf": _SLURM_CONF.format(
            nodes="\n".join(lines), names=names, kill_wait=KILL_WAIT_S, slurmd_timeout=SLURMD_TIMEOUT_S, **where
        ),
        "slurmdbd.conf": _SLURMDBD_CONF.format(**where),
        "cgroup.conf": _CGROUP_CONF,
        "accounts": _ACCOUNTS.format(users=",".join(filter(None, ("root", os.environ.get("MADRUN_TEST_USER"))))),
        "hosts": "".join(f"{node.address} {name_of(node)}\n" for node in cluster.everyone),
        "start.sh": _DAEMONS,
    }
    for node in cluster.everyone:
        folder = node.shared / "slurm"
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
        (folder / "munge.key").write_bytes(key)
    starting = [_enter(node, "node") for node in cluster.nodes]
    starting.append(_enter(head, "head"))
    for child in starting:
        assert child.wait(120) == 0, [(node.shared / "slurm/start.log").read_text() for node in cluster.everyone]
    cluster.until_idle()
    cluster.seconds = time.monotonic() - begun


def _enter(node: Node, role: str) -> subprocess.Popen[bytes]:
    with (node.shared / "slurm/start.log").open("wb") as log:
        words = node.enter(["bash", "/node/slurm/start.sh", role, name_of(node)])
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _end_daemons(cluster: Cluster) -> None:
    """At once: what they keep is gone with their nodes."""
    for node in cluster.everyone:
        for name in ("slurmctld", "slurmdbd", "slurmd", "slurmstepd", "mariadbd", "munged"):
            while pid := cluster.daemon(node, name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _remove_cgroups() -> None:
    """The directories that slurmd made for its nodes: they are this machine's, for the nodes see its cgroups."""
    for top in Path("/sys/fs/cgroup").glob(f"*/slurm_b{os.getpid()}n*"):
        for folder in [*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top]:
            with suppress(OSError):
                folder.rmdir()
