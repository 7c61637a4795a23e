"""The node part of a plan: this node's ranks and addresses, and the exact container or process."""

from __future__ import annotations

import posixpath

from madrun.errors import ContextError
from madrun.planning.container import plan_container
from madrun.planning.devices import Chosen
from madrun.planning.interfaces import variables
from madrun.planning.job import CardFacts
from madrun.planning.mad.environment import mad_node_env
from madrun.planning.mad.workspace import workspace_mounts
from madrun.planning.mpihosts import names_of
from madrun.planning.runnerwords import runner_notes
from madrun.planning.transport import transport_env
from madrun.runners import RUNNERS
from madrun.runners.mpirun import ways
from madrun.spec.card import Card
from madrun.spec.context import Context, mount_source
from madrun.spec.facts import HostFacts
from madrun.spec.mad import WORKSPACE
from madrun.spec.plan import BOX, RANK, RUN_DIR, RUN_ID, SECRET, Container, HostProcess, JobPlan, Mount, NodePlan
from madrun.spec.topology import Starting, Topology


def plan_node(
    card: Card, job: JobPlan, context: Context, chosen: Chosen, topology: Topology, files: CardFacts
) -> NodePlan:
    """What this host does for the job; `ContextError` where the process runtime cannot do what was asked."""
    facts = chosen.facts
    owner = owner_of(job, facts)
    more = variables(topology, job.runner, bool(facts.infiniband) and job.transport != "sockets")
    more |= mad_node_env(context, chosen, topology, facts.process_env) if card.mad else {}
    rdma, rdma_notes, hcas = _rdma(job, context, facts)
    container, process, notes = _enclosure(job, context, chosen, topology, files, (owner, more | rdma))
    return NodePlan(
        node_rank=topology.node_rank,
        hostname=facts.hostname,
        role="hold" if RUNNERS[job.runner].head and topology.node_rank else "script",
        master_addr=topology.master_addr,
        master_port=topology.master_port,
        control_port=topology.control_port,
        nccl_ifname=topology.nccl_ifname,
        gloo_ifname=topology.gloo_ifname,
        card_folder=card.folder,
        files=card.files,
        repository=card.repository,
        data_sources=_sources(files),
        mirrors={source.name: source.fetches[0].place for source in files.data if source.fetches},
        owner=owner,
        container=container,
        process=process,
        gpus=tuple(gpu.index for gpu in facts.accelerator.gpus),
        notes=(*notes, *_rank_notes(job), *runner_notes(job), *rdma_notes, *files.notes),
        hcas=hcas,
        mirror_root=context.force_mirror_local or "" if job.data else "",
        local_data=context.local_data,
        check_reach=context.check_reach,
        checkout=files.checkout,
        fetches={source.name: source.fetches for source in files.data if source.fetches},
        own_data=tuple(source.name for source in files.data if source.own and source.fetches),
        placed=files.placed,
        cache=files.cache,
        dockerfile=files.dockerfile if card.mad else "",
        runner_config=files.runner_file.path if files.runner_file else "",
        host_list=names_of(context.multi_node_args),
    )


def _sources(files: CardFacts) -> dict[str, str]:
    """Where each data source lies on this host."""
    return {source.name: source.path for source in files.data}


def _enclosure(
    job: JobPlan,
    context: Context,
    chosen: Chosen,
    topology: Topology,
    files: CardFacts,
    said: tuple[str, dict[str, str]],
) -> tuple[Container | None, HostProcess | None, tuple[str, ...]]:
    """The container, or the process on the host itself, and notes; `said` as `_node_env` takes it."""
    sources, box = _sources(files), f"{RUN_DIR}/node-{topology.node_rank}/box"
    if job.in_container:
        env = _node_env(job, topology, said, {item.name: item.home for item in job.data}, BOX)
        env |= transport_env(job, BOX, env)
        inside = workspace_mounts(files.checkout, topology.node_rank, files.cache) if job.run_directory else ()
        mounts = _mounts(box, job, sources, inside, context)
        container, notes = plan_container(job, context, chosen, topology, (env, mounts))
        return container, None, notes
    _refuse_mounts(context)
    env = chosen.facts.process_env | chosen.env | _node_env(job, topology, said, sources, box)
    env |= transport_env(job, box, env)
    process = HostProcess(
        command=("bash", f"{box}/driver.sh"),
        workdir=f"{box}/work",
        env=dict(sorted(env.items())),
    )
    return None, process, ()


def _rdma(job: JobPlan, context: Context, facts: HostFacts) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Of RDMA between nodes: variables, with what the driver looks for before ranks start; notes; the ports."""
    if job.nnodes == 1 and job.transport == "auto":
        return {}, (), ()
    from madrun.planning.fabric import plan_fabric
    from madrun.planning.inside import VARIABLE, wanted

    around = {} if job.in_container else facts.process_env
    devices = () if job.in_container and "infiniband" in context.docker_drop else facts.infiniband
    made = plan_fabric(job, facts, around | job.env, devices)
    looks = job.nnodes > 1 and (job.transport == "rdma" or (devices and made.hcas))
    return made.env | ({VARIABLE: wanted(facts.hcas)} if looks else {}), made.notes, made.hcas


def owner_of(job: JobPlan, facts: HostFacts) -> str:
    """`uid:gid` to whom the driver gives the files in the end; empty where they are the user's own anyhow."""
    rootless = facts.engine is not None and facts.engine.rootless
    return f"{facts.uid}:{facts.gid}" if job.in_container and facts.uid != 0 and not rootless else ""


def _rank_notes(job: JobPlan) -> tuple[str, ...]:
    """Says so where the ranks' output is not kept apart."""
    starter = RUNNERS[job.runner].starter
    if not starter or starter not in {*job.env, *job.secrets}:
        return ()
    return (f"no logs of single ranks: docker_env_vars sets {starter}, by which madrun would keep them apart",)


def _node_env(
    job: JobPlan, topology: Topology, said: tuple[str, dict[str, str]], homes: dict[str, str], box: str
) -> dict[str, str]:
    """`said`: owner of the files, and what this host adds for a card of a MAD repository."""
    owner, more = said
    runner, starting = RUNNERS[job.runner], starting_of(job, box)
    command = runner.command(topology, starting)
    env = {
        **runner.settings(topology, starting),
        "MULTI_NODE_RUNNER": command,
        "MAD_MULTI_NODE_RUNNER": command,
        "NODE_RANK": str(topology.node_rank),
        "MASTER_ADDR": topology.master_addr,
        "MASTER_PORT": str(topology.master_port),
        "NCCL_SOCKET_IFNAME": topology.nccl_ifname,
        "GLOO_SOCKET_IFNAME": topology.gloo_ifname,
        "MADRUN_RUN_ID": RUN_ID,
        "MADRUN_OWNER": owner,
        **more,
    }
    if runner.starter:
        env[runner.starter] = f"{box}/{RANK}"
    # Scripts of MAD repositories install what they need; only what starts other nodes has to be there before.
    if runner.programs and (runner.head or not job.run_directory):
        env["MADRUN_PROGRAMS"] = " ".join((*runner.programs, *ways(job.mpi_launch, job.nnodes)))
    if runner.head and topology.node_rank:
        env["MADRUN_HOLD"] = "1"
    if job.data:
        env["MAD_DATAHOME"] = ",".join(homes[item.name] for item in job.data)
        env["MAD_DATANAME"] = ",".join(item.name for item in job.data)
    # What the user set for NCCL or Gloo in docker_env_vars stands above what was chosen by the route.
    merged = env | job.env | runner.env(topology, starting) | dict.fromkeys(job.secrets, SECRET)
    return dict(sorted(merged.items()))


def runner_whys(job: JobPlan, topology: Topology) -> dict[str, str]:
    """By name why the variables stand that are set for the runner itself."""
    runner, starting = RUNNERS[job.runner], starting_of(job, BOX)
    names = (*runner.settings(topology, starting), *runner.env(topology, starting))
    return dict.fromkeys(names, f"RUNNER {job.runner}")


def starting_of(job: JobPlan, box: str) -> Starting:
    """How the job's runner starts its ranks on a node that finds the directory of its run there."""
    return Starting(
        box=box,
        vendor=job.vendor,
        args=job.runner_args,
        config=f"{box}/{job.runner_config.partition(':')[0]}" if job.runner_config else "",
        elastic=job.elastic,
        mpi_launch=job.mpi_launch,
    )


def _mounts(
    box: str, job: JobPlan, sources: dict[str, str], inside: tuple[Mount, ...], context: Context
) -> tuple[Mount, ...]:
    given = {posixpath.normpath("/" + target.lstrip("/")) for target in context.docker_mounts}
    # What the user mounts over a folder of the checkout stands in its place; the workspace itself belongs to the run.
    mounts = [Mount(source=box, target=BOX), *(m for m in inside if m.target == WORKSPACE or m.target not in given)]
    for item in job.data:
        mounts.append(Mount(source=sources[item.name], target=item.home, read_only=not item.writable))
    for target, source in sorted(context.docker_mounts.items()):
        path, read_only = mount_source(source)
        mounts.append(Mount(source=path, target=posixpath.normpath("/" + target.lstrip("/")), read_only=read_only))
    targets = [mount.target for mount in mounts]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise ContextError(f"docker_mounts: {', '.join(sorted(twice))} is mounted already; allowed: another path")
    return tuple(mounts)


def _refuse_mounts(context: Context) -> None:
    mounts = context.docker_mounts
    moved = {target: source for target, source in mounts.items() if mount_source(source) != (target, False)}
    if moved:
        raise ContextError(
            f"docker_mounts: {moved} needs a container, but the runtime is process; "
            "allowed there: the same path on both sides, and not read only"
        )
