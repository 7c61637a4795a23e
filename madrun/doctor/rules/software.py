"""The engine, the disks, and the host's own name."""

from __future__ import annotations

import ipaddress

from madrun.doctor.asked import Asked
from madrun.planning.interfaces import is_for_containers
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.health import Disk, EngineState, HostName
from madrun.units import format_size

_ENGINE_PAGE = "https://docs.docker.com/engine/daemon/start/"
_STORAGE_PAGE = "https://docs.docker.com/engine/storage/drivers/vfs-driver/"
_NVIDIA_PAGE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
_DISK_PAGE = "https://man7.org/linux/man-pages/man3/statvfs.3.html"
_NAME_PAGE = "https://docs.pytorch.org/docs/stable/distributed.html#choosing-the-network-interface-to-use"
_LOW_BYTES, _LOW_SHARE = 1 << 30, 0.02  # as the gate has them
_NO_WARNING = ("No swap limit support", "No blkio", "bridge-nf-call")  # what madrun does not use


def no_engine(facts: HostFacts) -> Finding:
    """A run in a container without an engine."""
    text = f"none answers: {facts.engine_absent or 'none was found'}"
    advice = "start one, or run without a container: --runtime process"
    return Finding(name="engine", state="FAIL", text=text, advice=advice, source=_ENGINE_PAGE)


def engine(found: EngineState, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Version, storage, and a way to the GPUs of this host."""
    text = ", ".join(
        word for word in (f"{found.name} {found.version}", found.storage, found.cgroup, _rootless(facts)) if word
    )
    findings = [Finding(name="engine", state="PASS", text=text)]
    if found.storage == "vfs":
        advice = "set storage-driver to overlay2 in /etc/docker/daemon.json: vfs copies a whole image for a container; "
        advice += "do it when nothing runs there, for images and containers made before are not seen after that"
        findings = [Finding(name="engine", state="WARN", text=text, advice=advice, source=_STORAGE_PAGE)]
    told = [line for line in found.warnings if not any(word in line for word in _NO_WARNING)]
    if told and findings[0].state == "PASS":
        text = f"{text}; it warns: {'; '.join(told[:3])}"
        advice = "see to what the engine itself warns of (docker info)"
        findings = [Finding(name="engine", state="WARN", text=text, advice=advice, source=_ENGINE_PAGE)]
    if found.disk is None:
        findings.append(Finding(name="engine's disk", state="UNKNOWN", text=found.unread))
    else:
        findings.append(
            _disks("engine's disk", (found.disk,), f"as root: {found.name} system df, {found.name} image prune")
        )
    if facts.accelerator.vendor == "nvidia":
        findings.append(_nvidia(found))
    return findings


def _rootless(facts: HostFacts) -> str:
    return "rootless" if facts.engine is not None and facts.engine.rootless else ""


def _nvidia(found: EngineState) -> Finding:
    name, has_runtime = "engine and GPUs", "nvidia" in found.runtimes
    devices = [device for device in found.cdi if device.startswith("nvidia.com/gpu=")]
    ways = [*(["the runtime nvidia"] if has_runtime else []), *([f"{len(devices)} CDI devices"] if devices else [])]
    if ways:
        return Finding(name=name, state="PASS", text=f"{found.name} has {' and '.join(ways)}")
    text = f"{found.name} has neither the runtime nvidia nor CDI devices of nvidia.com/gpu"
    advice = (
        "install the NVIDIA Container Toolkit, then as root: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml "
    )
    advice += "(docker since 25, podman), or nvidia-ctk runtime configure --runtime=docker, and restart docker when "
    advice += "nothing runs there"
    return Finding(name=name, state="FAIL", text=text, advice=advice, source=_NVIDIA_PAGE)


def disks(found: tuple[Disk, ...], facts: HostFacts, asked: Asked) -> list[Finding]:
    """Space where the run writes; without any the results are lost."""
    return [_disks("free disk", found, "free some, or name another directory")]


def _disks(name: str, found: tuple[Disk, ...], advice: str) -> Finding:
    full = [disk for disk in found if disk.space.free == 0 or not disk.writable]
    low = [disk for disk in found if disk.space.free < max(_LOW_BYTES, _LOW_SHARE * disk.space.total)]
    text = "; ".join(f"{disk.name} ({disk.path}): {_space(disk)}" for disk in full or low or found)
    if not full and not low:
        return Finding(name=name, state="PASS", text=text)
    return Finding(name=name, state="FAIL" if full else "WARN", text=text, advice=advice, source=_DISK_PAGE)


def _space(disk: Disk) -> str:
    if not disk.writable:
        return "mounted read-only"
    return f"{format_size(disk.space.free)} of {format_size(disk.space.total)} free"


def host_name(found: HostName, facts: HostFacts, asked: Asked) -> list[Finding]:
    """A name that means loopback is what programs tell other hosts that ask this one for its address."""
    name, line = "host name", f" ({found.line})" if found.line else ""
    addresses = ", ".join(found.addresses)
    loopback = [one for one in found.addresses if ipaddress.ip_address(one.partition("%")[0]).is_loopback]
    own = [
        literal
        for interface in facts.interfaces
        if not is_for_containers(interface)
        for literal in interface.addresses
        if not ipaddress.ip_address(literal).is_loopback and not ipaddress.ip_address(literal).is_link_local
    ]
    give = f"give {found.name} an address that other hosts reach: {', '.join(own[:3]) or 'it has none now'}"
    if not found.addresses:
        text, advice = f"{found.name} means nothing here", f"{give} (in /etc/hosts or DNS)"
    elif loopback:
        text = f"{found.name} means {addresses}{line}, which no other host reaches"
        advice = f"{give} (in /etc/hosts): a program that asks for its own name would bind to loopback"
        advice += f"; torch's Gloo is told {asked.gloo_ifname}" if asked.gloo_ifname else ""
    elif not set(found.addresses) & set(own):
        text, advice = f"{found.name} means {addresses}{line}, which is no address of this host", give
    else:
        return [Finding(name=name, state="PASS", text=f"{found.name} means {addresses}{line}")]
    if asked.nnodes == 1:
        return [Finding(name=name, state="PASS", text=f"{text}; of no matter on one node")]
    return [Finding(name=name, state="WARN", text=text, advice=advice, source=_NAME_PAGE)]
