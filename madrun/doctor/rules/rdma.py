"""RDMA adapters: their ports, flow control on Ethernet, and the way to the memory of GPUs."""

from __future__ import annotations

import re
from collections import defaultdict

from madrun.doctor.asked import Asked
from madrun.spec.fabric import ROCE, Hca, HcaPort
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding, State
from madrun.spec.health import FlowControl, PeerMemory

_PORTS_PAGE = "https://docs.kernel.org/admin-guide/abi-stable.html (/sys/class/infiniband: state, phys_state, rate)"
_PFC_PAGE = "https://man7.org/linux/man-pages/man8/dcb-pfc.8.html"
_PEER_PAGES = {
    "nvidia": "https://docs.nvidia.com/cuda/gpudirect-rdma/index.html",
    "amd": "https://instinct.docs.amd.com/projects/gpu-cluster-networking/en/latest/",
}
_VERBS = "/dev/infiniband/uverbs"
_VERBS_PAGE = "https://docs.kernel.org/infiniband/user_verbs.html"
_DMABUF_SINCE = (5, 12)  # ib_umem_dmabuf_get came with it
_SHOWN = 6


def has_verbs(facts: HostFacts) -> bool:
    """Whether a program can open an adapter: rdma_cm alone is there without any."""
    return any(file.startswith(_VERBS) for file in facts.infiniband)


def ports(found: tuple[Hca, ...], facts: HostFacts, asked: Asked) -> list[Finding]:
    """Ports that are down, and ports that are slower than others of the same adapter."""
    name = "RDMA ports"
    listed = [(hca, port) for hca in found for port in hca.ports]
    unknown = [_name(hca, port) for hca, port in listed if not port.state] or [h.name for h in found if not h.ports]
    down = [f"{_name(hca, port)} is {port.state} ({port.phys_state or '?'})" for hca, port in listed if _is_down(port)]
    slow = _slower(found)
    up = [port for _, port in listed if port.up]
    state: State = "WARN"
    text = f"{len(up)} of {len(listed)} up{_rates(up)}"
    if up and not has_verbs(facts):
        return [_without_files(text, asked)]
    if listed and not up and not unknown:
        text = f"none of {len(listed)} is up: {_some(down)}"
        state = "FAIL" if asked.transport == "rdma" else "WARN"
    elif down or slow:
        text = f"{text}; {_some([*slow, *down])}"
    elif unknown:
        return [Finding(name=name, state="UNKNOWN", text=f"the state of {_some(unknown)} cannot be read")]
    else:
        return [Finding(name=name, state="PASS", text=text)]
    advice = "look at cable, switch port and subnet manager (ibstat, rdma link, ip link), or leave these ports out"
    return [Finding(name=name, state=state, text=text, advice=advice, source=_PORTS_PAGE)]


def _without_files(text: str, asked: Asked) -> Finding:
    """Adapters that the kernel has and no program can open: NCCL then takes sockets, and says so to nobody."""
    return Finding(
        name="RDMA ports",
        state="FAIL" if asked.transport == "rdma" else "WARN",
        text=f"{text}; there is no {_VERBS}*, so that no program can use them",
        advice="as root: modprobe ib_uverbs; in a container give it /dev/infiniband",
        source=_VERBS_PAGE,
    )


def _is_down(port: HcaPort) -> bool:
    return bool(port.state) and not port.up


def _slower(found: tuple[Hca, ...]) -> list[str]:
    """Ports below the rate of others of the same model, as a link that came up with fewer lanes."""
    rates: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for hca in found:
        for port in hca.ports:
            if port.up and port.rate:
                rates[hca.device, hca.board or hca.model].append((f"{_name(hca, port)}", port.rate))
    return [
        f"{name} runs at {rate:g} Gb/s, its like at {max(all_rates):g}"
        for same in rates.values()
        if (all_rates := [rate for _, rate in same])
        for name, rate in same
        if rate < max(all_rates)
    ]


def _rates(up: list[HcaPort]) -> str:
    rates = sorted({port.rate for port in up if port.rate}, reverse=True)
    return f", {', '.join(f'{rate:g}' for rate in rates)} Gb/s" if rates else ""


def _name(hca: Hca, port: HcaPort) -> str:
    return f"{hca.name}:{port.number}"


def roce_interfaces(found: tuple[Hca, ...]) -> tuple[str, ...]:
    """Interfaces of the ports that speak RoCE and are up."""
    names = [port.netdev for hca in found for port in hca.ports if port.up and hca.kind(port) == ROCE and port.netdev]
    return tuple(dict.fromkeys(names))


def flow_control(found: FlowControl, facts: HostFacts, asked: Asked) -> list[Finding]:
    """RoCE without a lossless priority drops packets where links are crowded, and falls to a fraction of its rate."""
    name = "flow control"
    without = [interface for interface, on in found.priorities.items() if not on]
    if without:
        text = f"no priority of {_some(without)} has flow control (PFC)"
        advice = "set it as the network's switches have it (dcb pfc set dev ... prio-pfc 3:on, or the vendor's tool), "
        advice += "unless this network is made for RoCE without it"
        return [Finding(name=name, state="WARN", text=text, advice=advice, source=_PFC_PAGE)]
    shown = [f"{interface}: priority {', '.join(map(str, on))}" for interface, on in found.priorities.items()]
    return [Finding(name=name, state="PASS", text=f"PFC on {_some(shown)}")]


def peer_memory(found: PeerMemory, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Whether adapters reach the memory of GPUs without a copy through the host."""
    name = "GPU peer memory"
    if found.ways:
        return [Finding(name=name, state="PASS", text=", ".join(found.ways))]
    vendor = facts.accelerator.vendor
    module = "nvidia_peermem" if vendor == "nvidia" else "peer memory of amdgpu (DKMS)"
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", found.kernel)
    may = bool(match) and (int(match[1]), int(match[2])) >= _DMABUF_SINCE if match else False
    text = f"{module} is not loaded"
    text += f"; DMA-BUF may serve in its place on Linux {found.kernel}" if may else f"; Linux {found.kernel}"
    advice = "as root: modprobe nvidia_peermem" if vendor == "nvidia" else "install amdgpu-dkms"
    advice += "; the lines of NCCL_DEBUG=INFO say GDRDMA or GDR 1 where it is used"
    return [Finding(name=name, state="WARN", text=text, advice=advice, source=_PEER_PAGES[vendor])]


def _some(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{'; '.join(words[:_SHOWN])}{more}"
