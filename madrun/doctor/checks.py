"""The table of checks: what is read, where that makes sense, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from madrun.doctor.asked import Asked
from madrun.doctor.rules import gpu, limits, machine, pci, rdma, software
from madrun.probe.health import amd as amd_reader
from madrun.probe.health import clock as clock_reader
from madrun.probe.health import disks as disk_reader
from madrun.probe.health import engine as engine_reader
from madrun.probe.health import kernel as kernel_reader
from madrun.probe.health import limits as limit_reader
from madrun.probe.health import load as load_reader
from madrun.probe.health import names as name_reader
from madrun.probe.health import nvidia as nvidia_reader
from madrun.probe.health import pci as pci_reader
from madrun.probe.health import rdma as rdma_reader
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.fabric import Hca
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding

Read = Callable[[Source, HostFacts, Asked], Any]
Judge = Callable[[Any, HostFacts, Asked], list[Finding]]
Applies = Callable[[HostFacts, Asked], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`read` gives facts or raises `Unreadable`; `judge` makes findings of them. `name`: of the finding where it
    cannot be read. `applies`: whether there is anything to look at on this host; where not, nothing is said.
    """

    name: str
    read: Read
    judge: Judge
    applies: Applies = lambda facts, asked: True


def _of(vendor: str) -> Applies:
    return lambda facts, asked: facts.accelerator.vendor == vendor and bool(facts.accelerator.gpus)


def _has_gpus(facts: HostFacts, asked: Asked) -> bool:
    return bool(facts.accelerator.gpus)


def _direct(facts: HostFacts, asked: Asked) -> bool:
    """Devices that could talk to each other past the CPU: two GPUs, or one and an adapter."""
    return len(_addresses(facts)) > 1 and bool(facts.accelerator.gpus)


def _addresses(facts: HostFacts) -> tuple[str, ...]:
    """PCI devices of the job; of a cut GPU the device itself, whose parts count as functions."""
    gpus = [gpu.bus for gpu in facts.accelerator.gpus if gpu.bus]
    if facts.accelerator.vendor == "amd":
        gpus = [f"{bus[:-1]}0" for bus in gpus]
    return tuple(dict.fromkeys((*gpus, *(hca.bus for hca in facts.hcas if hca.bus))))


def _ports(source: Source, facts: HostFacts, asked: Asked) -> tuple[Hca, ...]:
    if facts.infiniband and not facts.hcas:
        raise Unreadable("there are device files in /dev/infiniband, and /sys/class/infiniband lists no adapter")
    return facts.hcas


def _disks(source: Source, facts: HostFacts, asked: Asked) -> Any:
    places = {"results": asked.results} if asked.results else {}
    return disk_reader.disks(source, {**places, "temporary files": "/tmp"})


def _engine(source: Source, facts: HostFacts, asked: Asked) -> Any:
    if facts.engine is None:
        return None
    return engine_reader.engine(source, facts.engine)


def _judge_engine(found: Any, facts: HostFacts, asked: Asked) -> list[Finding]:
    return [software.no_engine(facts)] if found is None else software.engine(found, facts, asked)


CHECKS = (
    Check(name="shared memory", read=lambda s, f, a: limit_reader.shared_memory(s), judge=limits.shared_memory),
    Check(name="limits of this shell", read=lambda s, f, a: limit_reader.limits(s), judge=limits.of_shell),
    Check(
        name="control group",
        read=lambda s, f, a: limit_reader.control_group(s),
        judge=limits.control_group,
        applies=lambda facts, asked: not asked.in_container,
    ),
    Check(name="kernel", read=lambda s, f, a: kernel_reader.release(s), judge=machine.kernel),
    Check(name="NUMA balancing", read=lambda s, f, a: kernel_reader.numa_balancing(s), judge=machine.numa_balancing),
    Check(name="CPU governor", read=lambda s, f, a: kernel_reader.governors(s), judge=machine.governor),
    Check(name="memory", read=lambda s, f, a: kernel_reader.memory(s), judge=machine.memory),
    Check(name="other load", read=lambda s, f, a: load_reader.load(s), judge=machine.other_load),
    Check(name="GPUs", read=lambda s, f, a: pci_reader.gpus(s), judge=pci.gpus),
    Check(
        name="IOMMU",
        read=lambda s, f, a: pci_reader.iommu(s, _addresses(f)),
        judge=pci.iommu,
        applies=lambda facts, asked: bool(_addresses(facts)),
    ),
    Check(name="PCI ACS", read=lambda s, f, a: pci_reader.acs(s), judge=pci.acs, applies=_direct),
    Check(name="GPU state", read=lambda s, f, a: nvidia_reader.gpus(s), judge=gpu.gpu_state, applies=_of("nvidia")),
    Check(name="GPU state", read=lambda s, f, a: amd_reader.gpus(s), judge=gpu.gpu_state, applies=_of("amd")),
    Check(
        name="RDMA ports",
        read=_ports,
        judge=rdma.ports,
        applies=lambda facts, asked: bool(facts.hcas) or rdma.has_verbs(facts),
    ),
    Check(
        name="flow control",
        read=lambda s, f, a: rdma_reader.flow_control(s, rdma.roce_interfaces(f.hcas)),
        judge=rdma.flow_control,
        applies=lambda facts, asked: bool(rdma.roce_interfaces(facts.hcas)),
    ),
    Check(
        name="GPU peer memory",
        read=lambda s, f, a: rdma_reader.peer_memory(s, f.accelerator.vendor),
        judge=rdma.peer_memory,
        applies=lambda facts, asked: rdma.has_verbs(facts) and bool(facts.accelerator.gpus),
    ),
    Check(name="clock", read=lambda s, f, a: clock_reader.clock(s), judge=machine.clock),
    Check(name="engine", read=_engine, judge=_judge_engine, applies=lambda facts, asked: asked.in_container),
    Check(name="free disk", read=_disks, judge=software.disks),
    Check(name="host name", read=lambda s, f, a: name_reader.host_name(s, f.hostname), judge=software.host_name),
)
