"""The node part of a plan: this node's ranks and addresses, and the exact container or process."""

from __future__ import annotations

from pathlib import PurePosixPath

from madrun.errors import ContextError
from madrun.planning.job import CardFacts
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.plan import RUN_DIR, RUN_ID, SECRET, Container, HostProcess, JobPlan, Mount, NodePlan
from madrun.spec.topology import Topology
from madrun.units import format_size, parse_size

BOX = "/madrun"
UNLIMITED = -1


def plan_node(
    card: Card, job: JobPlan, context: Context, facts: HostFacts, topology: Topology, files: CardFacts
) -> NodePlan:
    """What this host does for the job; `ContextError` where the process runtime cannot do what was asked."""
    sources = dict(files.data_paths)
    mirrors: dict[str, str] = {}
    if context.force_mirror_local:
        mirrors = {name: path for name, path in sources.items() if path}
        sources = {item.name: str(PurePosixPath(context.force_mirror_local) / item.name) for item in job.data}
    box_on_host = f"{RUN_DIR}/node-{topology.node_rank}/box"
    rootless = facts.engine is not None and facts.engine.rootless
    owner = f"{facts.uid}:{facts.gid}" if job.in_container and facts.uid != 0 and not rootless else ""
    notes: tuple[str, ...] = ()
    container, process = None, None
    if job.in_container:
        env = _node_env(job, topology, owner, {item.name: item.home for item in job.data})
        mounts = _mounts(box_on_host, job, sources, mirrors, context)
        container, notes = _container(job, context, facts, topology, (env, mounts))
    else:
        _refuse_mounts(context)
        env = facts.process_env | _node_env(job, topology, owner, sources)
        process = HostProcess(
            command=("bash", f"{box_on_host}/driver.sh"),
            workdir=f"{box_on_host}/work",
            env=dict(sorted(env.items())),
        )
    return NodePlan(
        node_rank=topology.node_rank,
        hostname=facts.hostname,
        role="script",
        master_addr=topology.master_addr,
        master_port=topology.master_port,
        control_port=topology.control_port,
        nccl_ifname=topology.nccl_ifname,
        gloo_ifname=topology.gloo_ifname,
        card_folder=card.folder,
        files=card.files,
        repository=card.repository,
        data_sources=sources,
        mirrors=mirrors,
        owner=owner,
        container=container,
        process=process,
        notes=notes,
    )


def _node_env(job: JobPlan, topology: Topology, owner: str, homes: dict[str, str]) -> dict[str, str]:
    runner = RUNNERS[job.runner]
    command = runner.command(topology)
    env = {
        "MULTI_NODE_RUNNER": command,
        "MAD_MULTI_NODE_RUNNER": command,
        "NODE_RANK": str(topology.node_rank),
        "MASTER_ADDR": topology.master_addr,
        "MASTER_PORT": str(topology.master_port),
        "NCCL_SOCKET_IFNAME": topology.nccl_ifname,
        "GLOO_SOCKET_IFNAME": topology.gloo_ifname,
        "MADRUN_RUN_ID": RUN_ID,
        "MADRUN_OWNER": owner,
    }
    if job.data:
        env["MAD_DATAHOME"] = ",".join(homes[item.name] for item in job.data)
        env["MAD_DATANAME"] = ",".join(item.name for item in job.data)
    # What the user set for NCCL or Gloo in docker_env_vars stands above what was chosen by the route.
    merged = env | job.env | runner.env(topology) | dict.fromkeys(job.secrets, SECRET)
    return dict(sorted(merged.items()))


def _mounts(
    box: str, job: JobPlan, sources: dict[str, str], mirrors: dict[str, str], context: Context
) -> tuple[Mount, ...]:
    mounts = [Mount(source=box, target=BOX)]
    for item in job.data:
        mounts.append(Mount(source=sources[item.name], target=item.home, read_only=True))
    for target, source in sorted(context.docker_mounts.items()):
        mounts.append(Mount(source=source, target=target))
    targets = [mount.target for mount in mounts]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise ContextError(f"docker_mounts: {', '.join(sorted(twice))} is mounted already; allowed: another path")
    return tuple(mounts)


def _container(
    job: JobPlan,
    context: Context,
    facts: HostFacts,
    topology: Topology,
    filled: tuple[dict[str, str], tuple[Mount, ...]],
) -> tuple[Container, tuple[str, ...]]:
    ulimits, notes = _ulimits(context, facts)
    amd = job.vendor == "amd"
    shm = facts.memory // 2 if context.shm_size is None else parse_size(context.shm_size)
    container = Container(
        name=f"madrun-{RUN_ID}-n{topology.node_rank}",
        image=job.image.name,
        entrypoint=("bash",),
        command=(f"{BOX}/driver.sh",),
        workdir=f"{BOX}/work",
        env=filled[0],
        mounts=filled[1],
        labels={
            "madrun.run": RUN_ID,
            "madrun.node": str(topology.node_rank),
            "madrun.card": job.card,
            "madrun.owner": str(facts.uid),
        },
        network="host",
        ipc=context.ipc,
        shm_size=shm,
        ulimits=ulimits,
        gpus="all" if job.vendor == "nvidia" else "",
        devices=(*facts.accelerator.control, *(gpu.device for gpu in facts.accelerator.gpus)) if amd else (),
        groups=facts.accelerator.groups if amd else (),
        cap_add=("SYS_PTRACE",) if amd else (),
        security_opt=("seccomp=unconfined",) if amd else (),
    )
    return container, notes


def _ulimits(context: Context, facts: HostFacts) -> tuple[dict[str, int], tuple[str, ...]]:
    """The limits to ask for; those that the engine is known to refuse are left out and named."""
    wanted = {}
    if context.memlock == "unlimited":
        wanted["memlock"] = UNLIMITED
    if context.nofile is not None:
        wanted["nofile"] = context.nofile
    engine = facts.engine
    if engine is None or engine.can_raise_limits is not False:
        return wanted, ()
    hard = {"memlock": engine.memlock, "nofile": engine.nofile}
    notes = []
    for name, value in list(wanted.items()):
        limit = hard[name]
        if limit is not None and not 0 <= value <= limit:
            asked = "unlimited" if value == UNLIMITED else str(value)
            shown = format_size(limit) if name == "memlock" else str(limit)
            notes.append(f"{name} {asked} left out: the engine may not raise it above {shown} (no CAP_SYS_RESOURCE)")
            del wanted[name]
    return wanted, tuple(notes)


def _refuse_mounts(context: Context) -> None:
    moved = {target: source for target, source in context.docker_mounts.items() if target != source}
    if moved:
        raise ContextError(
            f"docker_mounts: {moved} needs a container, but the runtime is process; "
            "allowed there: the same path on both sides"
        )
