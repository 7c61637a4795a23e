"""Which ports of a host's RDMA adapters carry a job, and which entry of their address tables it is to use."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from madrun.spec.fabric import EFA, INFINIBAND, IWARP, Gid, Hca, HcaPort
from madrun.spec.facts import Gpu, HostFacts

SWITCH, ROOT, SAME_NUMA, OTHER_NUMA, ELSEWHERE = range(5)
# By what an adapter and a GPU are joined; the last where they share nothing of PCI and the NUMA node is not known.
NEARNESS = ("PCI switch", "PCI root", "NUMA node", "other NUMA node", "not by PCI")
ROCE_V2 = "RoCE v2"
_WHY_NOT_UP = {
    "INIT": "state INIT: no subnet manager has set the port up; start one (opensm, or the switch's own)",
    "ARMED": "state ARMED: the subnet manager is not done with it; look at its log",
    "": "state not known: sysfs could not be read",
}
_WHY_DOWN = {
    "Disabled": "it is switched off; ip link set {netdev} up, or for InfiniBand: ibportstate -D 0 {port} enable",
    "Polling": "no cable, or nothing answers at the other end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One port of one adapter."""

    hca: Hca
    port: HcaPort

    @property
    def name(self) -> str:
        """As NCCL and UCX write it: `mlx5_0:1`."""
        return f"{self.hca.name}:{self.port.number}"

    @property
    def kind(self) -> str:
        """What it speaks: `infiniband`, `roce`, `iwarp`, `efa`, or nothing that is known."""
        return self.hca.kind(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlane:
    """The ports that carry the job, in the kernel's order; `left_out`: the others, each with the reason."""

    rails: tuple[Rail, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """What all of them speak; empty without any."""
        return self.rails[0].kind if self.rails else ""

    @property
    def names(self) -> tuple[str, ...]:
        """`mlx5_0:1` and so on."""
        return tuple(rail.name for rail in self.rails)


def data_plane(facts: HostFacts) -> DataPlane:
    """The ports that are up, the fastest, off the host's own network where others are, and near the GPUs of the job.

    `facts` are those with the GPUs that the job gets. What is not known of a port leaves no other out.
    """
    rails = rails_of(facts)
    out: dict[str, str] = {}
    for sieve in (_down, _virtual, _unfit, _slow, _of_the_host, _far):
        here = [rail for rail in rails if rail.name not in out]
        out |= sieve(here, facts)
    return DataPlane(
        rails=tuple(rail for rail in rails if rail.name not in out),
        left_out=tuple((rail.name, out[rail.name]) for rail in rails if rail.name in out),
    )


def rails_of(facts: HostFacts) -> list[Rail]:
    """Every port of every adapter of the host."""
    return [Rail(hca=hca, port=port) for hca in facts.hcas for port in hca.ports]


def _down(rails: Sequence[Rail], _facts: HostFacts) -> dict[str, str]:
    return {rail.name: why_not_up(rail.port) for rail in rails if not rail.port.up}


def _virtual(rails: Sequence[Rail], _facts: HostFacts) -> dict[str, str]:
    """Virtual functions beside the adapter that they are a part of: one cable would count twice."""
    whole = {rail.hca.bus: rail.hca.name for rail in rails if rail.hca.bus}
    return {
        rail.name: f"a virtual function (SR-IOV) of {whole[rail.hca.physical]}"
        for rail in rails
        if rail.hca.physical in whole
    }


def why_not_up(port: HcaPort) -> str:
    """What the port's state means, and what to do."""
    if port.state in _WHY_NOT_UP:
        return _WHY_NOT_UP[port.state]
    text = f"state {port.state}" + (f", {port.phys_state}" if port.phys_state else "")
    why = _WHY_DOWN.get(port.phys_state, "").format(netdev=port.netdev or "INTERFACE", port=port.number)
    return f"{text}: {why}" if why else text


def _unfit(rails: Sequence[Rail], _facts: HostFacts) -> dict[str, str]:
    """Ports that NCCL cannot use, and those that speak otherwise than the fastest do."""
    out = {rail.name: "iWARP: NCCL makes its connections without rdma_cm" for rail in rails if rail.kind == IWARP}
    out |= {rail.name: "link layer not known" for rail in rails if not rail.kind}
    left = [rail for rail in rails if rail.name not in out]
    if left:
        best = max(left, key=lambda rail: (rail.port.rate or 0, rail.kind == INFINIBAND)).kind
        out |= {rail.name: f"{rail.kind}, the faster ones are {best}" for rail in left if rail.kind != best}
    return out


def _slow(rails: Sequence[Rail], _facts: HostFacts) -> dict[str, str]:
    """Half the rate is another class: 200 Gb/s beside 400 is a network for storage, or a link that trained badly."""
    most = max((rail.port.rate or 0 for rail in rails), default=0)
    slow = [rail for rail in rails if (rail.port.rate or 0) * 2 <= most and most]
    return {rail.name: f"{said_rate(rail.port)}, others {most:g} Gb/s" for rail in slow}


def _of_the_host(rails: Sequence[Rail], _facts: HostFacts) -> dict[str, str]:
    own = [rail for rail in rails if rail.port.default_route]
    if len(own) == len(rails):
        return {}
    return {rail.name: f"{rail.port.netdev} has the default route: the host's own network" for rail in own}


def _far(rails: Sequence[Rail], facts: HostFacts) -> dict[str, str]:
    """Those that are the nearest of no GPU; none where of one GPU it is not known which are near."""
    if not facts.accelerator.gpus:
        return {}
    near: set[str] = set()
    for gpu in facts.accelerator.gpus:
        levels = {rail.name: nearness(gpu, rail.hca, facts.bridges) for rail in rails}
        known = [level for level in levels.values() if level is not None]
        best = min(known, default=ELSEWHERE)
        if len(known) < len(levels) or (ELSEWHERE in known and best > ROOT):
            return {}
        near |= {name for name, level in levels.items() if level == best}
    return {rail.name: "other adapters are nearer to every GPU of the job" for rail in rails if rail.name not in near}


def nearness(gpu: Gpu, hca: Hca, bridges: dict[str, tuple[str, ...]]) -> int | None:
    """SWITCH to ELSEWHERE, the lower the nearer; None where it is not known.

    A bridge above both other than the host's joins them by PCI alone, as `PIX` and `PXB` of `nvidia-smi topo -m`.
    """
    above = bridges.get(gpu.bus, ())
    shared = set(above) & set(hca.bridges)
    if any(not name.startswith("pci") for name in shared):
        return SWITCH
    if shared:
        return ROOT
    if gpu.numa is None or hca.numa is None:
        return ELSEWHERE if above and hca.bridges else None
    return SAME_NUMA if gpu.numa == hca.numa else OTHER_NUMA


def affinity(facts: HostFacts, rails: Iterable[Rail]) -> list[tuple[int, tuple[str, ...], str]]:
    """Of each GPU its index, the nearest ports, and by what they are joined; GPUs of which that is not known lack."""
    rails, found = list(rails), []
    for gpu in facts.accelerator.gpus:
        levels = {rail.name: nearness(gpu, rail.hca, facts.bridges) for rail in rails}
        known = [level for level in levels.values() if level is not None]
        if known and min(known) < ELSEWHERE:
            names = tuple(name for name, level in levels.items() if level == min(known))
            found.append((gpu.index, names, NEARNESS[min(known)]))
    return found


def gid_index(plane: DataPlane, facts: HostFacts) -> tuple[int | None, str]:
    """The entry of RoCE v2 that all ports have in common, and a note where there is none or it does not reach far.

    An IPv4 address of the port's own interface is best, then a global IPv6 one; link-local ones stay in one subnet.
    """
    tables = {rail.name: _ranked(rail.port, facts) for rail in plane.rails}
    lacking = [name for name, table in tables.items() if not table]
    if lacking:
        return None, f"{', '.join(lacking)}: no {ROCE_V2} address; give the interface of the port an IP address"
    best = {name: {i for i, rank in table.items() if rank == min(table.values())} for name, table in tables.items()}
    common = set.intersection(*best.values()) if best else set()
    if not common:
        words = ", ".join(f"{name} {min(indices)}" for name, indices in best.items())
        return None, (
            f"the index of the {ROCE_V2} address differs between the ports ({words}): NCCL_IB_GID_INDEX cannot say it; "
            "NCCL from 2.21 on finds it by itself"
        )
    local = [name for name, table in tables.items() if min(table.values()) == _LINK_LOCAL]
    note = f"{', '.join(local)}: link-local {ROCE_V2} addresses alone, which no router passes on" if local else ""
    return min(common), note


_OWN_IPV4, _IPV4, _GLOBAL, _LINK_LOCAL = range(4)


def _ranked(port: HcaPort, facts: HostFacts) -> dict[int, int]:
    """The entries of RoCE v2 by index, the better the lower the number."""
    own = {interface.name: interface.addresses for interface in facts.interfaces}
    return {g.index: _rank(g, own.get(g.netdev or port.netdev, ())) for g in port.gids if g.kind == ROCE_V2}


def _rank(gid: Gid, own: tuple[str, ...]) -> int:
    address = ipaddress.IPv6Address(gid.address)
    mapped = address.ipv4_mapped
    if (mapped or address).is_link_local:
        return _LINK_LOCAL
    if mapped is None:
        return _GLOBAL
    return _OWN_IPV4 if str(mapped) in own else _IPV4


def said_rate(port: HcaPort) -> str:
    """`400 Gb/s`, or that it is not known."""
    return "rate not known" if port.rate is None else f"{port.rate:g} Gb/s"


def describe(plane: DataPlane) -> str:
    """`8 ports infiniband 400 Gb/s (mlx5_0:1, ...); left out: mlx5_8:1 (25 Gb/s, others 400 Gb/s)`; plain words."""
    rates = ", ".join(dict.fromkeys(said_rate(rail.port) for rail in plane.rails))
    kind = {EFA: "EFA", INFINIBAND: "InfiniBand"}.get(plane.kind, "RoCE")
    head = f"{len(plane.rails)} x {kind}, {rates}" if plane.rails else "no usable port"
    left = "; ".join(f"{name} ({why})" for name, why in plane.left_out)
    return head + (f"; left out: {left}" if left else "")
