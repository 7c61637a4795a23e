"""Whether the ranks talked over what was asked for: from what NCCL said, and what the hosts counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from madrun.results.transporttext import adapters, line_of, used
from madrun.spec.plan import JobPlan
from madrun.spec.record import Check, NodeOutcome
from madrun.spec.transport import NodeTransport, RunTransport, names_interface
from madrun.units import format_size

# Below this RDMA ports have not moved: a port of InfiniBand carries some KiB of management in any minute.
MOVED = 64 << 10
# An interface that the ranks were not given is named when it carried this much, and ten times as much as theirs.
MUCH, TIMES = 256 << 20, 10
NAME = "transport"
_MOST_NODES = 3
_DOCTOR = "madrun doctor shows what RDMA lacks there"
_SPEAK = (
    f"{_DOCTOR}; NCCL says what it uses with NCCL_DEBUG=INFO, as the plan has it unless docker_env_vars or the script "
    "set NCCL_DEBUG, NCCL_DEBUG_SUBSYS or NCCL_DEBUG_FILE"
)
_GLOO = "ranks without GPUs talk by Gloo, which has sockets alone: give TRANSPORT auto, or RUNNER mpirun with UCX"
_ADVICE = {
    "Failed to open libibverbs.so[.1]": "install libibverbs and the adapter's provider library in the image "
    "(Debian: libibverbs1, ibverbs-providers)",
    "NET/IB : No device found.": "see that /dev/infiniband is in the container, that a port is ACTIVE, and that "
    "NCCL_IB_HCA names it; madrun doctor shows them",
    "NCCL_IB_DISABLE": "take NCCL_IB_DISABLE out of docker_env_vars, the image or the script",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Checks for the verdict, notes, and the record's summary; None where nothing is known and nothing was asked."""

    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    transport: RunTransport | None = None


def judge_transport(job: JobPlan, outcomes: Sequence[NodeOutcome], ended_well: bool) -> Judged:
    """What a job of several nodes talked over, held against its TRANSPORT; of one node only the summary.

    `ended_well`: nothing failed. Of a run that failed only what was positively seen counts, not what is missing.
    """
    told = {outcome.node: outcome.transport for outcome in outcomes if outcome.transport is not None}
    text = line_of(tuple(told.values()), job.nnodes)
    if job.nnodes == 1:
        return Judged(transport=RunTransport(asked=job.transport, text=text) if text else None)
    seen = _Seen(job, outcomes)
    checks = seen.checks(ended_well)
    differs = _differences(outcomes)
    grave = [words for words in differs if not words.startswith("version")] if job.transport == "rdma" else []
    if grave and all(check.passed for check in checks):
        checks += [Check(name=NAME, passed=False, text=f"the nodes differ in {words}") for words in grave]
    notes = (*seen.notes(), *(f"the nodes differ in {words}" for words in differs if words not in grave))
    warnings = seen.warnings()
    if not (text or checks or notes):
        return Judged()
    run = RunTransport(asked=job.transport, text=text, differs=tuple(differs), warnings=warnings)
    return Judged(checks=tuple(checks), notes=notes, transport=run)


class _Seen:
    """The nodes' findings, those of the same words put together."""

    def __init__(self, job: JobPlan, outcomes: Sequence[NodeOutcome]) -> None:
        self._job, self._outcomes = job, outcomes
        told = [outcome.transport for outcome in outcomes if outcome.transport is not None]
        # mpirun over ssh brings the words of all ranks to node 0; its log then speaks for all.
        hosts = {host for transport in told for host in transport.hosts}
        self._for_all = any(len(transport.hosts) > 1 for transport in told) and len(hosts) >= job.nnodes
        self._asked = tuple(dict.fromkeys(transport.asked_interface for transport in told))

    def checks(self, ended_well: bool) -> list[Check]:
        """One for each thing that is wrong, or one that passes; none where nothing was asked for."""
        wanted = {"rdma": self._no_rdma, "sockets": _no_sockets}.get(self._job.transport)
        failed = self._grouped(lambda outcome: wanted(outcome, ended_well)) if wanted else []
        failed += self._grouped(lambda outcome: self._other_interface(outcome, True))
        if wanted and not failed and ended_well:
            return [Check(name=f"{NAME} is {self._job.transport}, as asked for", passed=True)]
        return [Check(name=NAME, passed=False, text=text) for text in failed]

    def notes(self) -> tuple[str, ...]:
        """What a reader may want to know."""
        notes = [*self._grouped(_other_traffic), *self._grouped(_through_memory)]
        notes += self._grouped(lambda outcome: self._other_interface(outcome, False))
        for_rdma = (self._counters_alone, _other_adapters) if self._job.transport == "rdma" else ()
        return (*notes, *(text for find in for_rdma for text in self._grouped(find)))

    def warnings(self) -> tuple[str, ...]:
        """Sockets where RDMA was at hand, in a job that asked for neither."""
        return tuple(self._grouped(_missed)) if self._job.transport == "auto" else ()

    def _grouped(self, find: Callable[[NodeOutcome], str]) -> list[str]:
        nodes: dict[str, list[str]] = {}
        for outcome in self._outcomes:
            if text := find(outcome):
                nodes.setdefault(text, []).append(f"node {outcome.node} ({outcome.hostname})")
        return [f"{_few(names)}: {text}" for text, names in nodes.items()]

    def _no_rdma(self, outcome: NodeOutcome, ended_well: bool) -> str:
        transport = outcome.transport or NodeTransport()
        if "sockets" in transport.kinds:
            found = f"{used(transport, 'sockets')}{_said(transport)}"
            return f"TRANSPORT rdma was asked for, and {found}; {_advice(transport)}"
        if "rdma" in transport.kinds or self._for_all or not ended_well:
            return ""
        moved = transport.rdma_bytes
        if transport.kinds and moved is None:
            return ""  # a plugin of which neither name nor counter tells; a note says so
        if _ports_moved(transport):
            return ""
        carried = _carried(transport)
        counted = "no RDMA port could be counted" if moved is None else f"its RDMA ports moved {format_size(moved)}"
        if moved is not None and moved >= MOVED:
            counted += f", as storage or management may, and the interface of the ranks {format_size(carried)}"
        lines = (
            f"{used(transport)} which may be either" if transport.kinds else "no line of NCCL or RCCL names a network"
        )
        gloo = self._job.vendor == "cpu" and self._job.runner != "mpirun"
        return (
            f"TRANSPORT rdma was asked for, and nothing shows it: {lines}, and {counted}; {_GLOO if gloo else _SPEAK}"
        )

    def _counters_alone(self, outcome: NodeOutcome) -> str:
        transport = outcome.transport or NodeTransport()
        if {"rdma", "sockets"} & transport.kinds or self._for_all:
            return ""
        if transport.kinds and transport.rdma_bytes is None:
            return f"{used(transport)}; whether that is RDMA is not known, and no RDMA port could be counted"
        if not _ports_moved(transport):
            return ""
        moved = format_size(transport.rdma_bytes or 0)
        return f"that RDMA was used is known by the counters alone: its RDMA ports moved {moved} while the script ran"

    def _other_interface(self, outcome: NodeOutcome, data: bool) -> str:
        """Names interfaces that the plan does not allow: those of the data, or those that only made connections."""
        transport = outcome.transport
        if transport is None:
            return ""
        carrying = transport.interfaces if "sockets" in transport.kinds else ()  # NCCL 2.4 names them beside IB too
        asked = self._asked if len(transport.hosts) > 1 else (transport.asked_interface,)
        others = [
            name
            for name in dict.fromkeys(carrying if data else transport.oob)
            if not any(names_interface(words, name) for words in asked) and (data or name not in carrying)
        ]
        if not others:
            return ""
        return (
            f"the plan has NCCL_SOCKET_IFNAME {transport.asked_interface!r}, and {transport.library or 'NCCL'} used "
            f"{', '.join(others)}{'' if data else ' to make its connections'}; see who sets it otherwise (the script, "
            "nccl.conf), or give NCCL_SOCKET_IFNAME in multi_node_args"
        )


def _ports_moved(transport: NodeTransport) -> bool:
    """Whether the counters alone show RDMA: storage and management move some too, and IPoIB a head for each packet.

    Sockets of the ranks would have carried many times as much as these.
    """
    moved = transport.rdma_bytes or 0
    return moved >= MOVED and moved * TIMES > _carried(transport)


def _carried(transport: NodeTransport) -> int:
    """Bytes of the busiest interface that NCCL was given; 0 where none was named."""
    asked = transport.asked_interface
    own = [moved for name, moved in transport.bytes.items() if ":" not in name and names_interface(asked, name)]
    return max((moved.most for moved in own), default=0) if asked else 0


def _no_sockets(outcome: NodeOutcome, _ended_well: bool) -> str:
    transport = outcome.transport or NodeTransport()
    if "rdma" not in transport.kinds:
        return ""
    return (
        f"TRANSPORT sockets was asked for, and {used(transport, 'rdma')}; see who sets NCCL_IB_DISABLE, NCCL_NET or "
        "NCCL_NET_PLUGIN otherwise (docker_env_vars, the script, nccl.conf)"
    )


def _missed(outcome: NodeOutcome) -> str:
    transport = outcome.transport
    if transport is None or "sockets" not in transport.kinds or not transport.at_hand:
        return ""
    names = transport.at_hand
    return (
        f"{used(transport, 'sockets')} though {adapters(names)} {'are' if len(names) > 1 else 'is'} fit for RDMA there:"
        f" this is the speed of TCP{_said(transport)}; {_advice(transport)}; say TRANSPORT sockets where it is meant"
    )


def _through_memory(outcome: NodeOutcome) -> str:
    transport = outcome.transport
    if transport is None or transport.kinds != {"rdma"} or transport.gdr != "no":
        return ""
    return (
        f"{used(transport)} without GPU Direct RDMA: all bytes go through the host's memory; see that the kernel has "
        "DMA-BUF, or nvidia-peermem is loaded, and what NCCL_NET_GDR_LEVEL says"
    )


def _other_adapters(outcome: NodeOutcome) -> str:
    """Names adapters that the plan left out, of a job that asked for RDMA; `mlx5_0_dma` is `mlx5_0` by Data Direct."""
    transport = outcome.transport or NodeTransport()
    others = [name for name in transport.hcas if name.partition("/")[0].replace("_dma:", ":") not in transport.at_hand]
    if not others or not transport.at_hand or "rdma" not in transport.kinds:
        return ""
    return f"NCCL used {adapters(others)} beside the ports of the plan, {adapters(transport.at_hand)}"


def _other_traffic(outcome: NodeOutcome) -> str:
    """Names an interface that carried much more than the ranks' own; other programs of the host count too."""
    transport = outcome.transport
    if transport is None or not transport.asked_interface or "rdma" in transport.kinds:
        return ""
    names = [name for name in transport.bytes if ":" not in name]
    own = [name for name in names if names_interface(transport.asked_interface, name)]
    others = [name for name in names if name not in own]
    if not own or not others:
        return ""
    busiest = max(others, key=lambda name: transport.bytes[name].most)
    carried, most = max(transport.bytes[name].most for name in own), transport.bytes[busiest].most
    if most < MUCH or carried * TIMES > most:
        return ""
    return (
        f"{', '.join(own)}, which the ranks were given, carried {format_size(carried)}, and {busiest} "
        f"{format_size(most)} while the script ran; other programs count too, but see which way the ranks' traffic took"
    )


def _differences(outcomes: Sequence[NodeOutcome]) -> list[str]:
    """What differs between the nodes that said it."""
    parts: dict[str, dict[str, list[str]]] = {}
    for outcome in outcomes:
        for part, value in _parts(outcome.transport).items():
            name = f"node {outcome.node} ({outcome.hostname})"
            parts.setdefault(part, {}).setdefault(value, []).append(name)
    return [
        f"{part}: {'; '.join(f'{value} on {_few(names)}' for value, names in values.items())}"
        for part, values in parts.items()
        if len(values) > 1
    ]


def _parts(transport: NodeTransport | None) -> dict[str, str]:
    if transport is None:
        return {}
    networks = ", ".join(f"NET/{network.name}" for network in transport.networks)
    found = {"network": networks, "version": transport.version and f"{transport.library} {transport.version}"}
    # Where a GPU is far from its adapter NCCL leaves it out of one connection or other: only none at all is a fault.
    direct = {"yes": "yes", "partly": "yes", "no": "no"}.get(transport.gdr, "")
    found["GPU Direct RDMA"] = direct if transport.kinds == {"rdma"} else ""
    found["number of adapters"] = str(len(transport.hcas) or "")
    return {part: value for part, value in found.items() if value}


def _said(transport: NodeTransport) -> str:
    return f" ({'; '.join(hint.rstrip('.') for hint in transport.hints)})" if transport.hints else ""


def _advice(transport: NodeTransport) -> str:
    return next((advice for mark, advice in _ADVICE.items() if any(mark in one for one in transport.hints)), _DOCTOR)


def _few(names: list[str]) -> str:
    more = len(names) - _MOST_NODES
    return ", ".join(names[:_MOST_NODES]) + (f" and {more} more" if more > 0 else "")
