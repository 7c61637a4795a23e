"""RDMA between nodes: what is proposed to NCCL, RCCL and UCX, what TRANSPORT sets, and what stands against it.

Variables: NCCL, "Environment Variables" (NCCL_IB_HCA, NCCL_IB_GID_INDEX, NCCL_IB_DISABLE, NCCL_NET), which RCCL reads
by the same names; UCX, "Frequently Asked Questions" (UCX_NET_DEVICES).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from madrun.errors import ContextError
from madrun.planning.dataplane import (
    ROCE_V2,
    DataPlane,
    Rail,
    affinity,
    data_plane,
    describe,
    gid_index,
    rails_of,
    why_not_up,
)
from madrun.spec.fabric import EFA, ROCE
from madrun.spec.facts import HostFacts
from madrun.spec.plan import JobPlan, NodePlan

HCA, GID, DISABLE, NET, UCX = "NCCL_IB_HCA", "NCCL_IB_GID_INDEX", "NCCL_IB_DISABLE", "NCCL_NET", "UCX_NET_DEVICES"
_KEY = "multi_node_args.TRANSPORT"
_OFF = ("", "0")
_NO_GPU = "TRANSPORT rdma on a host without GPUs: Gloo uses sockets whatever it says; NCCL, RCCL and MPI heed it"
_VERBS = "/dev/infiniband/uverbs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """What one node's plan says of RDMA: variables that are set, notes, and the ports that are to carry the job."""

    env: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hcas: tuple[str, ...] = ()


def plan_fabric(job: JobPlan, facts: HostFacts, said: Mapping[str, str], devices: tuple[str, ...]) -> Fabric:
    """`facts` with the GPUs that the job gets; `said`: the variables that the ranks get otherwise.

    `devices`: the device files of adapters that they get. `ContextError` where variables and TRANSPORT contradict each
    other. What this host lacks is a note: the plan of one node is also made on another host, to be read.
    """
    if job.nnodes == 1:
        text = f"TRANSPORT {job.transport} changes nothing: one node needs no network"
        return Fabric(notes=() if job.transport == "auto" else (text,))
    _check_said(job.transport, said)
    if job.transport == "sockets":
        return _sockets(facts, said)
    plane = data_plane(facts)
    wanted, notes = _proposals(job, facts, plane)
    open_ones = {name: value for name, value in wanted.items() if name not in said}
    if job.transport == "rdma":
        stands = _problems(facts, plane, said, devices) or ([] if facts.accelerator.gpus else [_NO_GPU])
        found = (*_why(facts, plane, wanted, said), *notes, *stands)
        return Fabric(env=open_ones, notes=found, hcas=_carrying(facts, plane, said))
    if not facts.hcas or not _uses_rdma(job, facts):
        return Fabric()
    if off := _switched_off(facts, said, devices):
        return Fabric(notes=(f"RDMA is off: {off}; this host has {describe(plane)}",))
    head = f"proposed: {_words(open_ones)} (TRANSPORT rdma sets this)" if open_ones else "RDMA"
    more = (*notes, *_affinity(facts, plane), *_astray(said, facts, plane))
    return Fabric(notes=(f"{head}: {describe(plane)}", *more), hcas=_carrying(facts, plane, said))


def _uses_rdma(job: JobPlan, facts: HostFacts) -> bool:
    """Gloo, which is what ranks without GPUs use, has sockets alone; MPI may do otherwise."""
    return bool(facts.accelerator.gpus) or job.runner == "mpirun"


def _switched_off(facts: HostFacts, said: Mapping[str, str], devices: tuple[str, ...]) -> str:
    """By which words the user turned RDMA off; empty where nobody did."""
    if said.get(DISABLE) not in (None, *_OFF):
        return f"{DISABLE}={said[DISABLE]}"
    if said.get(NET, "").lower() == "socket":
        return f"{NET}={said[NET]}"
    has, gets = (any(name.startswith(_VERBS) for name in names) for names in (facts.infiniband, devices))
    return "docker_drop keeps /dev/infiniband from the ranks" if has and not gets else ""


def _sockets(facts: HostFacts, said: Mapping[str, str]) -> Fabric:
    """NCCL_IB_DISABLE is heard by NCCL itself alone, and not by plugins, as EFA needs one and many images have one.

    Source: issue 676 of NVIDIA/nccl, where the plugin of HPC-X (IBext) goes on with InfiniBand.
    """
    env = {DISABLE: "1"} | ({NET: "Socket"} if facts.hcas else {})
    env = {name: value for name, value in env.items() if name not in said}
    return Fabric(env=env, notes=(f"TRANSPORT sockets: {_words(env)}, no RDMA",) if env else ())


def _check_said(transport: str, said: Mapping[str, str]) -> None:
    """`ContextError` where a variable asks for the opposite of TRANSPORT."""
    disable, net = said.get(DISABLE), said.get(NET, "").lower()
    against = {
        "rdma": [(DISABLE, disable not in (None, *_OFF)), (NET, net == "socket")],
        "sockets": [(DISABLE, disable == "0"), (NET, net not in ("", "socket"))],
    }
    for name, contradicts in against.get(transport, []):
        if contradicts:
            raise ContextError(
                f"{_KEY}: found {transport!r}, but {name} is set to {said[name]!r} (by docker_env_vars, the card, or "
                "with runtime process the environment), which says the opposite; leave one of the two out"
            )


def _proposals(job: JobPlan, facts: HostFacts, plane: DataPlane) -> tuple[dict[str, str], list[str]]:
    """The variables that name the ports, and notes on what they cannot say. Traffic classes are a site's own."""
    if not plane.rails:
        return {}, []
    if plane.kind == EFA:
        return {}, ["EFA: NCCL reaches it by a plugin in the image (aws-ofi-nccl), not by NCCL_IB_*; nothing is set"]
    wanted, notes = {HCA: "=" + ",".join(plane.names)}, []
    if plane.kind == ROCE:
        index, note = gid_index(plane, facts)
        wanted |= {GID: str(index)} if index is not None else {}
        notes += [note] if note else []
    if job.runner == "mpirun":
        wanted[UCX] = ",".join(plane.names)
    return wanted, notes


def _why(facts: HostFacts, plane: DataPlane, wanted: dict[str, str], said: Mapping[str, str]) -> list[str]:
    own = {name: said[name] for name in wanted if name in said}
    words = _words({name: value for name, value in wanted.items() if name not in said})
    lines = [f"TRANSPORT rdma: {words or 'no variable set'}: {describe(plane)}"] if plane.rails else []
    kept = [f"proposed: {name}={wanted[name]}; {value} stands" for name, value in own.items() if value != wanted[name]]
    return [*lines, *kept, *_affinity(facts, plane)]


def _affinity(facts: HostFacts, plane: DataPlane) -> list[str]:
    """The table of GPUs and the adapters next to them, in one line."""
    words = [f"GPU {index} {'+'.join(names)} ({by})" for index, names, by in affinity(facts, plane.rails)]
    return [f"adapters nearest to the GPUs: {', '.join(words)}"] if words else []


def _words(env: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in env.items())


def _carrying(facts: HostFacts, plane: DataPlane, said: Mapping[str, str]) -> tuple[str, ...]:
    """The ports that are up and that NCCL will take: those that the user named, else those that were chosen."""
    if not said.get(HCA):
        return plane.names
    return tuple(rail.name for rail in rails_of(facts) if rail.port.up and _takes(said[HCA], rail))


def _takes(text: str, rail: Rail) -> bool:
    """Whether NCCL_IB_HCA takes this port: `=` exact names, else prefixes; `^` in front takes all others."""
    return any(_means(word, rail) for word in _named(text)) != text.startswith("^")


def _named(text: str) -> list[str]:
    """The words of NCCL_IB_HCA, each with its `=`."""
    bare = text.removeprefix("^")
    exact = "=" if bare.startswith("=") else ""
    return [exact + word.strip() for word in bare.removeprefix("=").split(",") if word.strip()]


def _means(word: str, rail: Rail) -> bool:
    """`=mlx5_0:1`, `=mlx5_0`, `mlx5`; a word without a port means all of them."""
    wanted, _, port = word.removeprefix("=").partition(":")
    here = rail.hca.name == wanted if word.startswith("=") else rail.hca.name.startswith(wanted)
    return here and (not port.isdecimal() or int(port) == rail.port.number)


def fabric_problems(job: JobPlan, node: NodePlan, facts: HostFacts) -> list[str]:
    """Why this host cannot do what TRANSPORT rdma asks for; empty where it can, and where it asks for nothing."""
    if job.transport != "rdma" or job.nnodes == 1:
        return []
    devices = node.container.devices if node.container else facts.infiniband
    inside = node.container or node.process
    gpus = tuple(gpu for gpu in facts.accelerator.gpus if gpu.index in node.gpus)
    facts = replace(facts, accelerator=replace(facts.accelerator, gpus=gpus))
    return _problems(facts, data_plane(facts), inside.env if inside else {}, devices)


def _problems(facts: HostFacts, plane: DataPlane, said: Mapping[str, str], devices: tuple[str, ...]) -> list[str]:
    """What stands against RDMA here, a sentence each; `devices` are the device files that the ranks get."""
    if not facts.hcas:
        return [
            "TRANSPORT: found 'rdma', but this host has no RDMA adapter (nothing in /sys/class/infiniband); load its "
            "driver (lspci shows the adapter; mlx5_ib, bnxt_re, ionic_rdma, irdma, efa), or give TRANSPORT auto"
        ]
    if not plane.rails:
        found = "; ".join(f"{name}: {why}" for name, why in plane.left_out) or "no adapter has a port"
        return [f"TRANSPORT: found 'rdma', but no RDMA port of this host can be used: {found}; or give TRANSPORT auto"]
    problems = []
    if not any(name.startswith(_VERBS) for name in devices):
        problems.append(
            f"TRANSPORT: found 'rdma', but the ranks get no {_VERBS}*: load ib_uverbs (modprobe ib_uverbs), and leave "
            "infiniband out of docker_drop"
        )
    return [*problems, *_astray(said, facts, plane)]


def _astray(said: Mapping[str, str], facts: HostFacts, plane: DataPlane) -> list[str]:
    """What is wrong with the ports and the address that the user named: NCCL would go on without them."""
    text = said.get(HCA, "")
    rails = rails_of(facts)
    has = ", ".join(f"{rail.name} {rail.port.state or 'state not known'}" for rail in rails)
    problems = []
    for word in _named(text) if not text.startswith("^") else []:
        meant = [rail for rail in rails if _means(word, rail)]
        if not any(rail.port.up for rail in meant):
            why = "whose port is not up: " + why_not_up(meant[0].port) if meant else "which this host does not have"
            problems.append(f"{HCA}: found {word.removeprefix('=')!r}, {why}; it has: {has}")
    if text.startswith("^") and not any(rail.port.up and _takes(text, rail) for rail in rails):
        problems.append(f"{HCA}: found {text!r}, which leaves out every port that is up; it has: {has}")
    return problems + _wrong_gid(said, facts, plane)


def _wrong_gid(said: Mapping[str, str], facts: HostFacts, plane: DataPlane) -> list[str]:
    index = said.get(GID, "")
    if not index.isdecimal():
        return []
    used = [rail for rail in rails_of(facts) if rail.name in _carrying(facts, plane, said) and rail.kind == ROCE]
    found = []
    for rail in used:
        kinds = {gid.index: gid.kind for gid in rail.port.gids}
        if kinds.get(int(index)) == ROCE_V2:
            continue
        what = f"is {kinds[int(index)]}" if kinds.get(int(index)) else "is not in use"
        have = ", ".join(f"{gid.index} ({gid.address})" for gid in rail.port.gids if gid.kind == ROCE_V2) or "none"
        found.append(f"{GID}: found {index}, which {what} on {rail.name}; of {ROCE_V2} it has: {have}")
    return found
