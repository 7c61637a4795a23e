"""Everything that may end a run on several nodes, how soon nothing of it may be left, and what it is called."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bed import Bed
from plain_engine import PlainEngine
from three_nodes import Started

GRACE_S = 1.0  # what the test bed gives to SIGTERM
# A script with a child that left its session; neither listens to SIGTERM. It fails once a file `fail` is there.
STUBBORN = """
trap '' TERM INT HUP
setsid bash -c 'trap "" TERM INT HUP; while :; do sleep 1; done' bash MARK &
while [ ! -e fail ]; do sleep 0.1; done
echo "the cause on node $NODE_RANK"
exit 7
"""
Inflict = Callable[[Bed, Sequence[Started], int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to node `victim`. `bound_s` is what is promised where nothing else runs, for benchmarks/failover.py.

    `codes` are those of the victim's madrun and of all others; None for no word.

    `kind` and `says` are the class of the failure that node 0 records and words of its text; where node 0 itself is
    the victim and gone, `lost` says that the others are left with its loss.
    """

    name: str
    inflict: Inflict
    bound_s: float
    kind: str
    says: str
    codes: tuple[int | None, int] = (3, 3)
    lost: bool = False
    never: str = ""  # what is not said: the words of a slower way to find out
    runtimes: tuple[str, ...] = ("docker", "process")
    repair: Inflict | None = None


def _fail(bed: Bed, _started: Sequence[Started], victim: int) -> None:
    (bed.run_dir(victim) / f"node-{victim}/box/work/fail").touch()


def _signal(number: int) -> Inflict:
    return lambda _bed, started, victim: started[victim].signal(number)


def _close_terminal(_bed: Bed, started: Sequence[Started], victim: int) -> None:
    started[victim].close_terminal()


def container(bed: Bed, victim: int) -> str:
    """Id of the run's container on that node."""
    ours = [one for one in bed.nodes[victim].containers() if "madrun.run" in one["Labels"]]
    (found,) = [one for one in ours if not bed.card or one["Labels"]["madrun.card"] == bed.card]
    return str(found["Id"])


def _with_container(act: Callable[[PlainEngine, str], None]) -> Inflict:
    def inflict(bed: Bed, _started: Sequence[Started], victim: int) -> None:
        act(bed.nodes[victim].engine, container(bed, victim))

    return inflict


def _kill_driver(bed: Bed, _started: Sequence[Started], victim: int) -> None:
    seen = bed.nodes[victim].engine.inspect(container(bed, victim))
    pid = int(seen["State"]["Pid"])  # as the node numbers them
    bed.nodes[victim].run("bash", "-c", f"kill -KILL {pid}")


def _link(state: str) -> Inflict:
    return lambda bed, _started, victim: _set_link(bed, victim, state)


def _set_link(bed: Bed, victim: int, state: str) -> None:
    bed.nodes[victim].run("ip", "link", "set", "eth0", state)


def _drop(how: str) -> Inflict:
    def inflict(bed: Bed, _started: Sequence[Started], victim: int) -> None:
        for chain, through in (("INPUT", "-i"), ("OUTPUT", "-o")):
            bed.nodes[victim].run("iptables", how, chain, through, "eth0", "-j", "DROP")

    return inflict


def _power_off(bed: Bed, _started: Sequence[Started], victim: int) -> None:
    bed.nodes[victim].power_off()


def _power_on(bed: Bed, _started: Sequence[Started], victim: int) -> None:
    bed.nodes[victim].power_on()


def _end_engine(number: int) -> Inflict:
    return lambda bed, _started, victim: bed.nodes[victim].end_engine(number)


def _start_engine(bed: Bed, _started: Sequence[Started], victim: int) -> None:
    bed.nodes[victim].start_engine()


_STOP_S = 2 + GRACE_S
_DOCKER = ("docker",)
FAULTS = (
    Fault(name="script fails", inflict=_fail, bound_s=_STOP_S, kind="script error", says="exit code 7 on node {}"),
    Fault(
        name="Ctrl-C",
        inflict=_signal(signal.SIGINT),
        bound_s=_STOP_S,
        kind="interrupted",
        says="SIGINT on node {}",
        codes=(130, 130),
    ),
    Fault(
        name="SIGTERM",
        inflict=_signal(signal.SIGTERM),
        bound_s=_STOP_S,
        kind="interrupted",
        says="SIGTERM on node {}",
        codes=(130, 130),
    ),
    Fault(
        name="closed terminal",
        inflict=_close_terminal,
        bound_s=5,
        kind="interrupted",
        says="SIGHUP on node {}",
        codes=(None, 130),
    ),
    Fault(
        name="kill -9 of madrun",
        inflict=_signal(signal.SIGKILL),
        bound_s=5,
        kind="node lost",
        says="node {} (n{}) was lost",
        codes=(137, 3),
        lost=True,
        never="not heard of",
    ),
    Fault(
        name="madrun frozen",
        inflict=_signal(signal.SIGSTOP),
        bound_s=12,
        kind="node lost",
        says="node {} (n{}) was lost: not heard of",
        codes=(None, 3),
        lost=True,
    ),
    Fault(
        name="docker pause",
        inflict=_with_container(lambda engine, name: engine.act(name, "pause")),
        bound_s=5,
        kind="paused",
        says="was paused from outside",
        runtimes=_DOCKER,
    ),
    Fault(
        name="docker kill",
        inflict=_with_container(lambda engine, name: engine.act(name, "kill")),
        bound_s=_STOP_S,
        kind="node",
        says="was killed from outside on node {}",
        runtimes=_DOCKER,
    ),
    Fault(
        name="docker stop",
        inflict=_with_container(lambda engine, name: engine.act(name, "stop")),
        bound_s=_STOP_S,
        kind="node",
        says="was stopped from outside on node {}",
        runtimes=_DOCKER,
    ),
    Fault(
        name="docker rm -f",
        inflict=_with_container(lambda engine, name: engine.remove(name)),
        bound_s=_STOP_S,
        kind="node",
        says="was killed from outside on node {}",
        runtimes=_DOCKER,
    ),
    Fault(
        name="driver killed",
        inflict=_kill_driver,
        bound_s=_STOP_S,
        kind="node",
        says="was killed from outside on node {}",
        runtimes=_DOCKER,
    ),
    Fault(
        name="cable drawn",
        inflict=_link("down"),
        repair=_link("up"),
        bound_s=15,
        kind="node lost",
        says="node {} (n{}) was lost: not heard of",
        lost=True,
    ),
    Fault(
        name="packets dropped",
        inflict=_drop("-A"),
        repair=_drop("-D"),
        bound_s=15,
        kind="node lost",
        says="node {} (n{}) was lost: not heard of",
        lost=True,
    ),
    Fault(
        name="power off",
        inflict=_power_off,
        repair=_power_on,
        bound_s=15,
        kind="node lost",
        says="node {} (n{}) was lost",
        codes=(None, 3),
        lost=True,
    ),
    Fault(
        name="dockerd killed",
        inflict=_end_engine(signal.SIGKILL),
        repair=_start_engine,
        bound_s=15,
        kind="engine",
        says="the container engine on node {} has gone",
        codes=(2, 2),
        runtimes=_DOCKER,
    ),
    Fault(
        name="dockerd stopped",
        inflict=_end_engine(signal.SIGTERM),
        repair=_start_engine,
        bound_s=15,
        kind="engine",
        says="the container engine on node {} has gone",
        codes=(2, 2),
        runtimes=_DOCKER,
    ),
)
