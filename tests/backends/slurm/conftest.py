"""A SLURM that stands in: its commands speak what a real one (22.05) was recorded to say, and run the job's script."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm import backend
from madrun.backends.slurm.settings import read

# The n-th call of a program gives out its n-th answer, and from then on the last.
_SPEAKER = """#!/bin/sh
name=$(basename "$0"); scene={scene}
echo "$name $*" >>"$scene/calls"
[ "$1" != --version ] || exit 0
n=$(($(cat "$scene/$name.count" 2>/dev/null || echo 0) + 1)); echo "$n" >"$scene/$name.count"
while [ "$n" -gt 1 ] && [ ! -e "$scene/$name.$n" ]; do n=$((n - 1)); done
[ -e "$scene/$name.$n" ] || exit 0
. "$scene/$name.$n"
"""
# srun(1): a task for each node, the highest code, a signal to all tasks, and --kill-on-bad-exit from the last on.
_SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do case $1 in --ntasks=*) count=${1#*=} ;; esac; shift; done
rank=0 all=
while [ "$rank" -lt "$count" ]; do
  SLURM_NODEID=$rank SLURM_PROCID=$rank SLURM_STEP_ID=0 SLURMD_NODENAME=h$rank "$@" &
  all="$! $all" rank=$((rank + 1))
done
trap 'kill -USR2 $all' USR2
worst=0
for one in $all; do
  code=0; wait "$one" || code=$?
  while kill -0 "$one" 2>/dev/null; do code=0; wait "$one" || code=$?; done
  [ "$code" -eq 0 ] || kill -TERM $all 2>/dev/null
  [ "$code" -le "$worst" ] || worst=$code
done
exit "$worst"
"""
_RUN = """
[ "$2" = --parsable ] || case "$*" in *--test-only*) exit 0 ;; esac
for script; do :; done
SLURM_JOB_ID=7 SLURM_JOB_NODELIST='h[0-1]' setsid sh "$script" >"$(dirname "$script")/job.log" 2>&1 </dev/null &
echo $! >{scene}/pid
echo 7
"""
_SCANCEL = 'case "$*" in *USR2*) kill -USR2 $(cat {scene}/pid) ;; *) kill -TERM $(cat {scene}/pid) ;; esac'
_SQUEUE = "echo 'RUNNING|None|h[0-1]|2026-11-21T20:20:42'"


@dataclass
class Slurm:
    """The stand-in: `answers` are lines of sh by program."""

    scene: Path

    def answers(self, program, *texts):
        """What the calls of a program do, the first one first."""
        for number, text in enumerate(texts, 1):
            (self.scene / f"{program}.{number}").write_text(text)

    @property
    def calls(self):
        """The command lines so far."""
        return (self.scene / "calls").read_text().splitlines()

    def runs_jobs(self):
        """From now on a job begins as it is submitted."""
        self.answers("sbatch", _RUN.format(scene=self.scene))
        self.answers("squeue", _SQUEUE)
        self.answers("scancel", _SCANCEL.format(scene=self.scene))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Its commands come first on PATH; without answers they succeed and say nothing."""
    scene = tmp_path / "scene"
    programs = tmp_path / "programs"
    scene.mkdir()
    programs.mkdir()
    (scene / "calls").write_text("")
    hosts = f"#!/bin/sh\ncase $* in *reservations) exec cat {scene}/reservations ;; esac\n"
    hosts += "case $3 in 'h[0-1]') printf 'h0\\nh1\\n' ;; *) echo \"$3\" ;; esac\n"
    texts = dict.fromkeys(("sbatch", "squeue", "scancel", "sacct", "sacctmgr", "sinfo"), _SPEAKER.format(scene=scene))
    texts |= {"srun": _SRUN, "scontrol": hosts, "getent": "#!/bin/sh\necho '10.0.0.1 STREAM h0'\n"}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    return Slurm(scene)


@dataclass
class ListeningHead:
    """A command that nobody has interrupted, and what it said and showed."""

    stop: object
    said: list = field(default_factory=list)
    shown: bytes = b""
    told: bytes = b""
    reason: str = "interrupted by SIGINT"
    count: int = 0
    env: dict = field(default_factory=dict)  # of a login node

    def say(self, text):
        """Kept."""
        self.said.append(text)

    def show(self, data):
        """Kept."""
        self.shown += data

    def tell(self, data):
        """Kept."""
        self.told += data

    def interrupt(self):
        """One signal more."""
        self.count += 1
        self.stop.set()


@pytest.fixture
def head():
    """A command that listens."""
    import threading

    return ListeningHead(threading.Event())


@pytest.fixture
def madrun(tmp_path, monkeypatch):
    """What the nodes run instead of madrun: lines of sh, with the node's rank in MADRUN_NODE_RANK."""
    program = tmp_path / "madrun"

    def is_a(text):
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    monkeypatch.setenv("MADRUN_PROGRAM", str(program))
    is_a("exit 0")
    return is_a


@pytest.fixture
def folder(launch, tmp_path, slurm, madrun):
    """A launch in its folder, with these settings of slurm."""

    def make(**values):
        values = {"poll_s": 0.1, **values}
        settings, count = read(values, 2, {})
        made = launch(
            backend="slurm", folder=str(tmp_path / "L 1"), nnodes=count, settings=values, repository=str(tmp_path)
        )
        return LaunchFolder.create(made, backend.render(made, settings), {"MADRUN_SECRET": "s3cret"})

    return make


def events(folder):
    """The words of a launch's journal."""
    return [json.loads(line)["event"] for line in (folder.path / "journal.jsonl").read_text().splitlines()]
