"""Programs that start the ranks of a node. A new runner is one file and one line in this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from madrun.runners import mpirun, plain, script, torchrun
from madrun.spec.plan import BIN, RANK
from madrun.spec.topology import Starting, Topology

# What runners need in the box of a node: the file beside this one, and its name there.
FILES = {
    "rank.sh": RANK,
    "rank.py": "rank.py",
    "mpi-rank.sh": f"{BIN}/{mpirun.START_RANK}",
    "mpi-launch.sh": f"{BIN}/{mpirun.LAUNCH}",
    "torchrun.sh": f"{BIN}/torchrun",
}


def _nothing(_topology: Topology, _starting: Starting) -> dict[str, str]:
    """No variable."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`command`: the text in front of the script; `env`: what the runner itself leaves to be set.

    `settings`: variables that the runner reads, above which docker_env_vars stands. `starter`: the variable that names
    the program by which the runner starts each rank; empty where it has none. `programs`: what has to be on the PATH of
    the image. `head`: it is started on node 0 alone, and starts ranks in the boxes of the other nodes. `owns`: options
    that say what the plan says, and may not stand among the user's own words.
    """

    command: Callable[[Topology, Starting], str]
    env: Callable[[Topology, Starting], dict[str, str]] = _nothing
    settings: Callable[[Topology, Starting], dict[str, str]] = _nothing
    starter: str = ""
    programs: tuple[str, ...] = ()
    head: bool = False
    owns: tuple[str, ...] = ()


RUNNERS: dict[str, Runner] = {
    "torchrun": Runner(command=torchrun.command, starter=torchrun.STARTER, owns=torchrun.OWNS),
    "mpirun": Runner(
        command=mpirun.command,
        env=mpirun.env,
        settings=mpirun.settings,
        programs=mpirun.PROGRAMS,
        head=True,
        owns=mpirun.OWNS,
    ),
    "plain": Runner(command=plain.command, env=plain.env),
    "script": Runner(command=script.command),
}
