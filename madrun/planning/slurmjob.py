"""Containers of a SLURM job: they belong to the engine's daemon, and to the job only where they are told to."""

from __future__ import annotations

from collections.abc import Sequence

from madrun.spec.facts import HostFacts

LABEL = "madrun.slurm.job"
DROPPED = "cgroup"  # as docker_drop names it
_OPTION = "--cgroup-parent"


def labels(facts: HostFacts) -> dict[str, str]:
    """What an epilog of the site finds the job's containers by."""
    return {LABEL: facts.slurm_job} if facts.slurm_job else {}


def cgroup_parent(facts: HostFacts, options: Sequence[str], drop: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The cgroup in which the engine is to make the container's own, so that the job's limits hold for it too.

    Empty outside of SLURM, where the user names another, and with a note where it cannot be had: an engine whose
    cgroups systemd makes takes slices alone (docker-run(1), --cgroup-parent), and a job's cgroup is in a scope.
    """
    if not facts.slurm_job or DROPPED in drop or any(word.partition("=")[0] == _OPTION for word in options):
        return "", ()
    if why := _why_not(facts):
        return "", (f"the limits that SLURM job {facts.slurm_job} has do not hold for its container: {why}",)
    return facts.slurm_cgroup, ()


def _why_not(facts: HostFacts) -> str:
    engine = facts.engine
    if not facts.slurm_cgroup:
        return "this process is in no cgroup of the job (ProctrackType of slurm.conf is another than proctrack/cgroup)"
    if engine is None or engine.rootless:
        return "a rootless engine may not make cgroups there"
    if engine.name == "podman":
        return "podman is not told so by madrun"
    if engine.cgroup_driver != "cgroupfs":
        return (
            f"the engine's cgroup driver is {engine.cgroup_driver or 'not known'}, which takes systemd's slices alone"
        )
    return ""
