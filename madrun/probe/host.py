"""This host as one frozen value."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from madrun.probe import accelerator, environment, fabric, interfaces, slurmjob
from madrun.spec.facts import Engine, HostFacts


def facts(engine: Engine | None, engine_absent: str = "") -> HostFacts:
    """Everything but the engine is read here; the engine comes in because asking it is the slow part."""
    found, hcas, job = accelerator.find_accelerator(), fabric.find_hcas(), slurmjob.job_id()
    return HostFacts(
        hostname=socket.gethostname(),
        host_id=_host_id(),
        kernel=os.uname().release,
        cpu=_cpu_model(),
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        uid=os.getuid(),
        gid=os.getgid(),
        python=".".join(map(str, sys.version_info[:3])),
        machine=os.uname().machine,
        accelerator=found,
        infiniband=fabric.infiniband_devices(),
        hcas=hcas,
        bridges=fabric.bridges_above(gpu.bus for gpu in found.gpus) if hcas else {},
        interfaces=interfaces.interfaces(),
        process_env=environment.process_env(),
        engine=engine,
        engine_absent=engine_absent,
        scheduler=environment.scheduler_args(),
        slurm_job=job,
        slurm_cgroup=slurmjob.job_cgroup(job),
    )


def _host_id() -> str:
    """The same text in every process that shares this kernel boot and this network namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/net").readlink()
    except OSError:
        return f"{socket.gethostname()}-{sys.platform}"
    return f"{boot}-{namespace}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return os.uname().machine
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        os.uname().machine,
    )
