"""A saved plan made ready to be executed again: read, proven unchanged, taken off its old run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from madrun.errors import ContextError
from madrun.planning.node import starting_of
from madrun.planning.samegpus import check_gpus
from madrun.planning.whole import problems
from madrun.runners import RUNNERS
from madrun.spec.binding import unbind
from madrun.spec.card import Card, ImageSource
from madrun.spec.codec import from_plain, sha256
from madrun.spec.facts import HostFacts
from madrun.spec.mad import MadCard
from madrun.spec.plan import BOX, CHECKSUM, FORMAT, JobPlan, NodePlan, Plan
from madrun.spec.topology import Topology
from madrun.spec.validation import Invalid
from madrun.units import format_size

_NEW_PLAN = "make a new plan with `madrun run --tags ...`"


def read_plan(data: object, place: str, madrun: str) -> Plan:
    """The plan of a file's JSON; `ContextError` where it is none, was edited, or is of another madrun's format."""
    if not isinstance(data, dict) or not {"format", "job", "job_hash", "nodes"} <= set(data):
        raise ContextError(f"--plan: {place} holds no plan; allowed: the plan.json of a run, or `madrun plan --json`")
    _check_format(data, place, madrun)
    _check_unchanged(data, place)
    try:
        plan = from_plain(Plan, data)
    except Invalid as invalid:
        raise ContextError(f"--plan: {place}: {invalid}; {_made_by(data, madrun)}; {_NEW_PLAN}") from None
    if sha256(plan.job) != plan.job_hash:
        raise ContextError(
            f"--plan: {place}: {_made_by(data, madrun)}, whose jobs have other parts; repeat it with that version, "
            f"or {_NEW_PLAN}"
        )
    _check_whole(plan, place)
    return replace(plan, nodes=tuple(unbind(node) for node in plan.nodes))


def _check_whole(plan: Plan, place: str) -> None:
    """`ContextError` where the file has its right checksum, and yet holds what could not be executed."""
    found = problems(plan)
    if found:
        raise ContextError(f"--plan: {place}: {'; '.join(found)}; no madrun wrote this; restore it, or {_NEW_PLAN}")


def _made_by(data: Mapping[str, Any], madrun: str) -> str:
    return f"made by madrun {data.get('madrun')}, this is madrun {madrun}"


def _check_format(data: Mapping[str, Any], place: str, madrun: str) -> None:
    found = data["format"]
    if type(found) is not int or found != FORMAT:  # True is no format
        newer = "install that version to repeat it" if isinstance(found, int) and found > FORMAT else "it is not read"
        raise ContextError(
            f"--plan: {place}: {_made_by(data, madrun)}; found plan format {found!r}, allowed: {FORMAT}; "
            f"{newer}, or {_NEW_PLAN}"
        )


def _check_unchanged(data: Mapping[str, Any], place: str) -> None:
    """A plan is repeated to the letter, so the file has to be what madrun wrote."""
    hashed = sha256(data["job"])
    if hashed != data["job_hash"]:
        raise ContextError(
            f"--plan: {place} was edited: it says job hash {str(data['job_hash'])[:12]}, but its job now hashes to "
            f"{hashed[:12]}. A saved plan is repeated to the letter; restore the file, or {_NEW_PLAN}"
        )
    if CHECKSUM not in data:
        raise ContextError(f"--plan: {place} has no checksum: it was edited, or an early madrun made it; {_NEW_PLAN}")
    said, found = data[CHECKSUM], sha256({key: value for key, value in data.items() if key != CHECKSUM})
    if said != found:
        raise ContextError(
            f"--plan: {place} was edited outside of its job: it says checksum {str(said)[:12]}, but now has "
            f"{found[:12]}. A saved plan is repeated to the letter; restore the file, or {_NEW_PLAN}"
        )


def node_part(plan: Plan, rank: int | None, hostname: str, place: str) -> NodePlan:
    """The part for this host: of the given rank, else the only one, else that of this host's name."""
    have = ", ".join(str(node.node_rank) for node in plan.nodes)
    if rank is None:
        mine = [node for node in plan.nodes if plan.job.nnodes == 1 or node.hostname == hostname]
        if len(mine) != 1:
            raise ContextError(
                f"--plan: {place} is of {plan.job.nnodes} nodes, and {len(mine)} of them are named {hostname}; say "
                "which this is: --additional-context \"{'multi_node_args': {'NODE_RANK': '0'}}\"; or start all of them "
                "from here with --on, as --on ssh --hosts a,b"
            )
        return mine[0]
    for node in plan.nodes:
        if node.node_rank == rank:
            return node
    short = len(plan.nodes) < plan.job.nnodes
    why = "; node 0's plan.json holds them all, unless the run ended before it knew them" if short else ""
    raise ContextError(f"multi_node_args.NODE_RANK: found {rank}, but {place} holds the part of node {have}{why}")


def check_host(job: JobPlan, node: NodePlan, facts: HostFacts, then: Mapping[str, Any]) -> None:
    """`ContextError` where this host cannot do what the plan says: other accelerators, another engine.

    `then` are the facts of the first run, as a file holds them; empty where they are not known.
    """
    accelerator = facts.accelerator
    if accelerator.vendor != job.vendor:
        raise ContextError(f"--plan: made for accelerators of {job.vendor}, but this host has {accelerator.vendor}")
    missing = set(node.gpus) - {gpu.index for gpu in accelerator.gpus}
    if missing:
        words = ", ".join(map(str, sorted(missing)))
        raise ContextError(f"--plan: uses GPU {words}, but this host has {accelerator.count or 'no'} GPUs")
    check_gpus(node, facts, then)
    if facts.engine is not None and job.in_container and facts.engine.name != job.runtime:
        raise ContextError(f"--plan: made for {job.runtime}, but the engine that answers is {facts.engine.name}")


def image_change(then: str, identity: str, image_id: str) -> str:
    """`image A -> B` where an image is not the one of then, which is an identity, or an id of an older record."""
    if not then or then in (identity, image_id):
        return ""
    return f"image {brief(then)} -> {brief(identity)}"


def base_changes(built_on: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """`base NAME A -> B` for each base whose name means another image today; one that lies not here is not used."""
    moved = [name for name, was in built_on.items() if name in here and here[name] != was]
    return [f"base {name} {brief(built_on[name])} -> {brief(here[name])}" for name in moved]


def brief(identity: str) -> str:
    """`sha256:` or `recipe:` and the first letters of the hash."""
    kind, colon, digest = identity.partition(":")
    return f"{kind}{colon}{digest[:12]}"


def with_addresses(node: NodePlan, job: JobPlan, address: str, port: int, control: int, own: str = "") -> NodePlan:
    """The part with other addresses, which are no part of the job; the runner's command names them too.

    `own`: this node's, on the way to `address`.
    """
    topology = Topology(
        nnodes=job.nnodes,
        node_rank=node.node_rank,
        nproc_per_node=job.nproc_per_node,
        master_addr=address,
        master_port=port,
        control_port=control,
        nccl_ifname=node.nccl_ifname,
        gloo_ifname=node.gloo_ifname,
        address=own,
    )
    runner, starting = RUNNERS[job.runner], starting_of(job, _box(node))
    command = runner.command(topology, starting)
    env = {
        "MULTI_NODE_RUNNER": command,
        "MAD_MULTI_NODE_RUNNER": job.env.get("MAD_MULTI_NODE_RUNNER", command),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        **runner.env(topology, starting),
    }
    moved = replace(node, master_addr=address, master_port=port, control_port=control)
    return _with_env(moved, env)


def _box(node: NodePlan) -> str:
    return node.process.workdir.removesuffix("/work") if node.process is not None else BOX


def addresses(node: NodePlan) -> dict[str, str]:
    """Where the nodes meet, in words."""
    found = {"MASTER_ADDR": node.master_addr, "MASTER_PORT": node.master_port, "CONTROL_PORT": node.control_port}
    return {name: str(value) for name, value in found.items()}


def with_cache(node: NodePlan, cache: str) -> NodePlan:
    """The part with the cache of who runs it today."""
    if not node.cache or node.cache == cache:
        return node
    moved = replace(node, cache=cache)
    if moved.container is None:
        return moved
    mounts = tuple(
        replace(mount, source=cache) if mount.source == node.cache else mount for mount in moved.container.mounts
    )
    return replace(moved, container=replace(moved.container, mounts=mounts))


def for_owner(node: NodePlan, owner: str, uid: int) -> NodePlan:
    """The part for this user: the files of the run become theirs, and the container is found as theirs."""
    moved = _with_env(replace(node, owner=owner), {"MADRUN_OWNER": owner})
    if moved.container is None:
        return moved
    labels = moved.container.labels | {"madrun.owner": str(uid)}
    return replace(moved, container=replace(moved.container, labels=labels))


def _with_env(node: NodePlan, env: dict[str, str]) -> NodePlan:
    """The part with these variables changed; none is added."""
    if node.container is not None:
        known = {name: env.get(name, value) for name, value in node.container.env.items()}
        return replace(node, container=replace(node.container, env=known))
    if node.process is not None:
        known = {name: env.get(name, value) for name, value in node.process.env.items()}
        return replace(node, process=replace(node.process, env=known))
    return node


def card_of(job: JobPlan, node: NodePlan, source: str, dockerfile: str) -> Card:
    """A card that means the job's files and image; `dockerfile` counts from the card's folder.

    Of a MAD repository it counts from the repository, as what it is built in does.
    """
    image = ImageSource(image=job.image.name)
    if job.image.kind == "build":
        args = {name: value for name, value in job.image.build_args.items() if name != "BASE_DOCKER"}
        image = ImageSource(dockerfile=dockerfile, base=job.image.base or None, args=args)
    mad = None
    if job.run_directory:
        mad = MadCard(short=job.card.rpartition("/")[2], dockerfile=node.dockerfile, url=job.url, cred=job.cred)
        # every argument as it was: MAD's are also said by the host
        image = replace(image, dockerfile=node.dockerfile or None, context=job.image.context or None)
        image = replace(image, base=None, args=dict(job.image.build_args)) if job.image.kind == "build" else image
    return Card(
        name=job.card,
        folder=node.card_folder,
        repository=node.repository,
        source=source,
        script=job.script,
        args=job.args,
        tags=job.tags,
        files=node.files,
        images={job.vendor: image},
        metrics=job.metrics,
        multiple_results=job.multiple_results,
        mad=mad,
    )


def seen(facts: Mapping[str, Any], in_container: bool) -> dict[str, str]:
    """What of a host may change a number, in words, from host facts as a file holds them; what is unknown is absent."""
    accelerator = facts.get("accelerator") or {}
    engine = facts.get("engine") or {}
    gpus = accelerator.get("gpus") or []
    models = sorted({str(gpu.get("model") or gpu.get("arch") or "GPU") for gpu in gpus})
    found = {
        "host": facts.get("hostname"),
        "kernel": facts.get("kernel"),
        "CPU": facts.get("cpu"),
        "CPUs": facts.get("cpus"),
        "memory": format_size(int(facts["memory"])) if facts.get("memory") else "",
        "GPUs": f"{len(gpus)} x {', '.join(models)}" if gpus else "",
        "driver": accelerator.get("driver"),
        "RDMA": _rdma(facts.get("hcas") or []),
        "ROCm or CUDA": accelerator.get("stack"),
        "engine": f"{engine.get('name')} {engine.get('version')}" if engine and in_container else "",
        "python": "" if in_container else facts.get("python"),
    }
    data = {f"data {name}": state for name, state in (facts.get("data") or {}).items()}
    return {name: str(value) for name, value in {**found, **data}.items() if value}


def _rdma(hcas: Sequence[Mapping[str, Any]]) -> str:
    """The adapters with the rate of each port: `mlx5_0 400 Gb/s`, and of one that is not up its state."""
    ports = [(hca.get("name"), port) for hca in hcas for port in hca.get("ports") or ()]
    words = []
    for name, port in ports:
        rate, state = port.get("rate"), port.get("state")
        words.append(f"{name} {rate:g} Gb/s" if rate and state == "ACTIVE" else f"{name} {state or 'state not known'}")
    return ", ".join(words)


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """`driver 570 -> 575` for each difference; what was not known then is no difference."""
    return [f"{name} {value} -> {now.get(name, 'none')}" for name, value in then.items() if now.get(name) != value]
