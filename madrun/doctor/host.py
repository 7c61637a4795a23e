"""All that is looked at on one host: the checks of the table side by side, and the ports and interfaces of a run."""

from __future__ import annotations

import threading
import time

from madrun.doctor.asked import Asked
from madrun.doctor.checks import CHECKS, Check
from madrun.planning.namedinterfaces import interface_problems
from madrun.probe.health.source import Source, Unreadable
from madrun.probe.interfaces import interface_states
from madrun.probe.network import ephemeral_note, port_trouble
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.topology import Topology

_LIMIT_S = 20.0
_PORTS_PAGE = "https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range, ip_unprivileged_port_start)"
_INTERFACES_PAGE = "https://docs.pytorch.org/docs/stable/distributed.html#choosing-the-network-interface-to-use"
_KEPT = Asked()


def look(
    facts: HostFacts, asked: Asked = _KEPT, source: Source | None = None, limit_s: float = _LIMIT_S
) -> list[Finding]:
    """What every check that applies here has found, in the order of the table; nothing is changed, nothing raises.

    The readers work side by side: less than 2 s where all answer. What cannot be read, and what has not answered after
    `limit_s` seconds, is UNKNOWN with the reason. `facts.engine` None with `engine_absent` says that none answers.
    """
    host = source or Source()
    looks = [_Look(check, host, facts, asked) for check in CHECKS if check.applies(facts, asked)]
    deadline = time.monotonic() + limit_s
    for one in looks:
        one.join(max(deadline - time.monotonic(), 0.0))
    return [finding for one in looks for finding in one.findings(limit_s)]


class _Look(threading.Thread):
    """One check on its way. A thread that hangs in the kernel cannot be ended: as a daemon it holds nothing up."""

    def __init__(self, check: Check, source: Source, facts: HostFacts, asked: Asked) -> None:
        super().__init__(name=f"doctor {check.name}", daemon=True)
        self._check, self._source, self._facts, self._asked = check, source, facts, asked
        self._found: list[Finding] | None = None
        self.start()

    def run(self) -> None:
        try:
            found = self._check.read(self._source, self._facts, self._asked)
            self._found = self._check.judge(found, self._facts, self._asked)
        except Unreadable as error:
            self._found = [self._unknown(str(error))]
        except Exception as error:  # whatever a source brings up, the other checks go on and this one does not pass
            self._found = [self._unknown(f"the look at it failed: {type(error).__name__}: {error}")]

    def findings(self, limit_s: float) -> list[Finding]:
        """What was found so far; UNKNOWN where nothing has come."""
        found = self._found
        return [self._unknown(f"no answer within {limit_s:g} s")] if found is None else found

    def _unknown(self, why: str) -> Finding:
        return Finding(name=self._check.name, state="UNKNOWN", text=why)


def of_topology(topology: Topology, facts: HostFacts) -> list[Finding]:
    """Whether the ports of a run are free, on node 0, and whether this host has the interfaces that torch will be told.

    To be asked before this process listens on any of these ports. Port 0 is not looked at.
    """
    ports = [("MASTER_PORT", topology.master_port)]
    ports += [("CONTROL_PORT", topology.control_port)] if topology.nnodes > 1 else []
    found = [_port(key, port) for key, port in ports if port and topology.node_rank == 0]
    return [*found, _interfaces(topology, facts)]


def _port(key: str, port: int) -> Finding:
    trouble, note = port_trouble(port), ephemeral_note(key, port)
    if trouble:
        what, _, advice = trouble.partition("; ")
        if "madrun" in what:  # a run that is well is not to be ended for a look
            advice = "a madrun has it: wait until that is over (madrun ps shows it), or give another port on every node"
        return Finding(name=key, state="FAIL", text=f"{port} {what}", advice=advice, source=_PORTS_PAGE)
    if note:
        what, _, advice = note.removeprefix(f"multi_node_args.{key}: ").rpartition("; ")
        return Finding(name=key, state="WARN", text=what, advice=advice, source=_PORTS_PAGE)
    return Finding(name=key, state="PASS", text=f"{port} is free")


def _interfaces(topology: Topology, facts: HostFacts) -> Finding:
    name = "interfaces"
    if not facts.interfaces:
        return Finding(name=name, state="UNKNOWN", text="the interfaces of this host could not be listed")
    problems = interface_problems(topology.gloo_ifname, topology.nccl_ifname, facts.interfaces, interface_states())
    if problems:
        advice = "name one that this host has: GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME of its multi_node_args"
        return Finding(name=name, state="FAIL", text="; ".join(problems), advice=advice, source=_INTERFACES_PAGE)
    text = f"Gloo {topology.gloo_ifname}, NCCL {topology.nccl_ifname}"
    text += f", network {topology.network}" if topology.network else ""
    if topology.doubts:
        advice = "name another with GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, where that is not meant"
        doubts = "; ".join((text, *topology.doubts))
        return Finding(name=name, state="WARN", text=doubts, advice=advice, source=_INTERFACES_PAGE)
    return Finding(name=name, state="PASS", text=text)
