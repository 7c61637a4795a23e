"""Programs that start the ranks of a node. A new runner is one file and one line in this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from madrun.runners import accelerate, deepspeed, mpirun, plain, script, torchrun
from madrun.spec.plan import BIN, RANK, JobPlan
from madrun.spec.topology import Starting, Topology

# What runners need in the box of a node: its name there, and the file beside this one.
FILES = {
    RANK: "rank.sh",
    "rank.py": "rank.py",
    f"{BIN}/{mpirun.START_RANK}": "mpi-rank.sh",
    f"{BIN}/{mpirun.LAUNCH}": "mpi-launch.sh",
    f"{BIN}/{mpirun.SSHD}": "mpi-sshd.sh",
    f"{BIN}/{deepspeed.START_RANK}": "deepspeed-rank.sh",
    **{f"{BIN}/{name}": "module.sh" for name in ("torchrun", "accelerate", "deepspeed")},
}


def _nothing(_topology: Topology, _starting: Starting) -> dict[str, str]:
    """No variable."""
    return {}


def _no_file(_job: JobPlan) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`command`: the text in front of the script; `env`: what the runner itself leaves to be set.

    `settings`: variables that the runner reads, above which docker_env_vars stands. `starter`: the variable that names
    the program by which the runner starts each rank; empty where it has none. `programs`: what has to be on the PATH of
    the image. `head`: it is started on node 0 alone, and starts ranks in the boxes of the other nodes. `owns`: options
    that say what the plan says, and may not stand among the user's own words. `files`: names and texts of what it reads
    in the box. `reads_config`: it is told of a configuration file of the user. `elastic`: of a range of nodes.
    `deaf`: it may end with 0 where what it had started was killed.
    """

    command: Callable[[Topology, Starting], str]
    env: Callable[[Topology, Starting], dict[str, str]] = _nothing
    settings: Callable[[Topology, Starting], dict[str, str]] = _nothing
    starter: str = ""
    programs: tuple[str, ...] = ()
    head: bool = False
    owns: tuple[str, ...] = ()
    files: Callable[[JobPlan], dict[str, str]] = _no_file
    reads_config: bool = False
    elastic: bool = False
    deaf: bool = False


RUNNERS: dict[str, Runner] = {
    "torchrun": Runner(command=torchrun.command, starter=torchrun.STARTER, owns=torchrun.OWNS, elastic=True),
    "mpirun": Runner(
        command=mpirun.command,
        env=mpirun.env,
        settings=mpirun.settings,
        programs=mpirun.PROGRAMS,
        head=True,
        owns=mpirun.OWNS,
    ),
    "accelerate": Runner(
        command=accelerate.command,
        settings=accelerate.settings,
        starter=accelerate.STARTER,
        programs=accelerate.PROGRAMS,
        owns=accelerate.OWNS,
        reads_config=True,
    ),
    "deepspeed": Runner(
        command=deepspeed.command,
        settings=deepspeed.settings,
        programs=deepspeed.PROGRAMS,
        owns=deepspeed.OWNS,
        files=deepspeed.files,
        reads_config=True,
        deaf=True,
    ),
    "plain": Runner(command=plain.command, env=plain.env),
    "script": Runner(command=script.command),
}
