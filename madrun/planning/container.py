"""The container of a node, as data: what the engine is asked for, and what of it was left out."""

from __future__ import annotations

import shlex
from dataclasses import replace

from madrun.planning import slurmjob
from madrun.planning.devices import Chosen, DeviceFlags, container_flags
from madrun.planning.mad.cpus import cpu_list
from madrun.planning.mad.options import NETWORK
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.mad import WORKSPACE
from madrun.spec.plan import BOX, HOSTS, RUN_ID, Container, JobPlan, Mount
from madrun.spec.topology import Topology
from madrun.units import format_size, parse_size

UNLIMITED = -1
# Where SELinux is on, podman labels its processes, and these may not open files that carry no label of a container.
_UNLABELLED = {"podman": ("label=disable",)}


def plan_container(
    job: JobPlan,
    context: Context,
    chosen: Chosen,
    topology: Topology,
    inside: tuple[dict[str, str], tuple[Mount, ...]],
) -> tuple[Container, tuple[str, ...]]:
    """The container and notes on what it does without; `inside` is its environment and its mounts."""
    facts = chosen.facts
    flags, dropped = _kept(container_flags(chosen, topology.nnodes), context.docker_drop)
    ulimits, refused = _ulimits(context, facts, dict(flags.ulimits))
    env, mounts = inside
    if flags.expected:
        env = env | {"MADRUN_DEVICES": " ".join(flags.expected)}
    network, options = _network(context)
    cgroup, unlimited = slurmjob.cgroup_parent(facts, options, context.docker_drop)
    container = Container(
        name=f"madrun-{RUN_ID}-n{topology.node_rank}",
        image=job.image.name,
        entrypoint=("bash",),
        command=(f"{BOX}/driver.sh",),
        workdir=WORKSPACE if job.run_directory else f"{BOX}/work",
        env=dict(sorted(env.items())),
        mounts=mounts,
        labels={
            "madrun.run": RUN_ID,
            "madrun.node": str(topology.node_rank),
            "madrun.card": job.card,
            "madrun.owner": str(facts.uid),
            **slurmjob.labels(facts),
        },
        network=network,
        ipc=context.ipc,
        shm_size=facts.memory // 2 if context.shm_size is None else parse_size(context.shm_size),
        ulimits=ulimits,
        program=job.runtime,
        gpus=flags.gpus,
        cdi=flags.cdi,
        devices=flags.devices,
        groups=flags.groups,
        cap_add=flags.cap_add,
        # Without names torch's rendezvous looks each address up, and waits where no name server answers.
        hosts=(HOSTS,) if topology.nnodes > 1 and "hosts" not in context.docker_drop else (),
        security_opt=(*flags.security_opt, *_UNLABELLED.get(job.runtime, ())),
        cpus=cpu_list(context.docker_cpus),
        cgroup_parent=cgroup,
        options=options,
    )
    return container, (*dropped, *refused, *unlimited)


def _network(context: Context) -> tuple[str, tuple[str, ...]]:
    """The network, the host's unless an option names another, and the other options as words."""
    words = shlex.split(context.additional_docker_run_options or "")
    network = "host"
    while NETWORK in words:
        place = words.index(NETWORK)
        network = words[place + 1]
        del words[place : place + 2]
    return network, tuple(words)


def _kept(flags: DeviceFlags, drop: tuple[str, ...]) -> tuple[DeviceFlags, tuple[str, ...]]:
    """The flags without those that `docker_drop` names, and a note."""
    kept = replace(
        flags,
        groups=() if "groups" in drop else flags.groups,
        cap_add=tuple(name for name in flags.cap_add if name not in drop),
        security_opt=() if "seccomp" in drop else flags.security_opt,
        ulimits=tuple((name, limit) for name, limit in flags.ulimits if name not in drop),
    )
    if "infiniband" in drop:
        fabric = [name for name in flags.devices if name.startswith("/dev/infiniband/")]
        kept = replace(
            kept,
            devices=tuple(name for name in flags.devices if name not in fabric),
            expected=tuple(name for name in flags.expected if name not in fabric),
        )
    return kept, (f"docker_drop: left out as asked: {', '.join(drop)}",) if drop else ()


def _ulimits(context: Context, facts: HostFacts, more: dict[str, int]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The limits to ask for; those that the engine is known to refuse are left out and named."""
    wanted = dict(more)
    if context.memlock == "unlimited" and "memlock" not in context.docker_drop:
        wanted["memlock"] = UNLIMITED
    if context.nofile is not None and "nofile" not in context.docker_drop:
        wanted["nofile"] = context.nofile
    engine = facts.engine
    if engine is None or engine.can_raise_limits is not False:
        return wanted, ()
    hard = {"memlock": engine.memlock, "nofile": engine.nofile}
    notes = []
    for name, value in list(wanted.items()):
        limit = hard.get(name)
        if limit is not None and not 0 <= value <= limit:
            asked = "unlimited" if value == UNLIMITED else str(value)
            shown = format_size(limit) if name == "memlock" else str(limit)
            notes.append(f"{name} {asked} left out: the engine may not raise it above {shown} (no CAP_SYS_RESOURCE)")
            del wanted[name]
    return wanted, tuple(notes)
