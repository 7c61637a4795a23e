"""The SLURM job that this process is a part of, and its cgroup."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_MINE = Path("/proc/self/cgroup")


def job_id(env: Mapping[str, str] = os.environ) -> str:
    """The number of the job, from the variable that SLURM sets in all of them; empty outside of one."""
    number = env.get("SLURM_JOB_ID", "")
    return number if number.isascii() and number.isdigit() else ""


def job_cgroup(job: str, file: Path = _MINE) -> str:
    """The cgroup of that job on this host, as a path below the mounts; empty where this process is not in it."""
    try:
        return cgroup_in(file.read_text(), job) if job else ""
    except (OSError, UnicodeDecodeError):
        return ""


def cgroup_in(text: str, job: str) -> str:
    """The same of the text of /proc/PID/cgroup (cgroups(7)): up to the directory `job_N` that slurmd makes for a job.

    Version 1 is `/slurm/uid_0/job_5/step_0`, version 2 `/system.slice/slurmstepd.scope/job_5/step_0/user/task_0`
    (slurm.schedmd.com/cgroups.html, cgroup_v2.html). Of several hierarchies that of memory counts, for it has limits.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = path.split("/")
        if f"job_{job}" in parts:
            found[controllers] = "/".join(parts[: parts.index(f"job_{job}") + 1])
    memory = next((path for names, path in found.items() if "memory" in names.split(",")), None)
    return memory or next(iter(found.values()), "")
