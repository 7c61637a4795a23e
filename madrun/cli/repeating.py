"""`--plan`: from a saved plan to one that this host executes again, and what is not as it was then."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from madrun import __version__
from madrun.cli.layers import user_layers
from madrun.cli.prepare import Planned, Prepared, card_facts, filesystems, look
from madrun.cli.request import Request
from madrun.cli.saved import find_plan, read_if_there, read_json
from madrun.errors import CardError, ContextError
from madrun.planning import repeat
from madrun.planning.explain import Explained
from madrun.planning.job import plan_image
from madrun.planning.layers import resolve
from madrun.planning.node import owner_of
from madrun.planning.topology import check_master_is_here, interface_notes, with_scheduler
from madrun.probe import git, network
from madrun.registry import cardtree
from madrun.results.rundir import EXPLAINED, RECORD
from madrun.spec.card import Card
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import GitState, HostFacts
from madrun.spec.plan import SECRET, NodePlan, Plan
from madrun.spec.validation import Invalid

_OWN_KEYS = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "CONTROL_PORT")


@dataclass(frozen=True, slots=True)
class _Then:
    """What the run directory beside the plan says of the first run; empty where there is none."""

    run_id: str
    record: Mapping[str, Any]
    facts: Mapping[str, Any]
    explained: tuple[Explained, ...]

    @property
    def commit(self) -> GitState:
        """The repository's commit of then."""
        provenance = self.record.get("provenance", {})
        return GitState(commit=provenance.get("git_commit", ""), dirty=provenance.get("git_dirty") == "true")


def prepare_saved(request: Request) -> Prepared:
    """The one plan to be executed again. Raises the error of the first thing that makes it another one."""
    file = find_plan(request.saved, request.results)
    plan = repeat.read_plan(read_json(file, "--plan"), str(file), __version__)
    context, given = _own_words(request)
    facts, client = look(plan.job.runtime)
    rank = with_scheduler({"NNODES": plan.job.nnodes, **given}, facts.scheduler).get("NODE_RANK")
    node = repeat.node_part(plan, None if rank is None else int(str(rank)), facts.hostname, str(file))
    repeat.check_host(plan.job, node, facts)
    repository = Path(node.repository)
    pool = ThreadPoolExecutor(max_workers=1)
    git_state = pool.submit(git.state, repository)
    pool.shutdown(wait=False)
    prepared = Prepared(repository=repository, facts=facts, engine=client, planned=[], git_state=git_state)
    then = _then(file, node.node_rank)
    today = repeat.for_owner(_addressed(plan, node, given, prepared), owner_of(plan.job, facts), facts.uid)
    moved = repeat.changes(repeat.addresses(node), repeat.addresses(today))
    plan = replace(plan, nodes=(replace(today, hostname=facts.hostname),), madrun=__version__)
    planned = _planned(plan, context, prepared, (file, then, client))
    changes = (*planned.changes, *(f"changed since: {line}" for line in moved))
    prepared.planned.append(replace(planned, changes=changes))
    return prepared


def _own_words(request: Request) -> tuple[Context, dict[str, Any]]:
    """What may be said beside a plan: which node this is, and addresses, none of which is part of the job."""
    layers = user_layers(request)
    said = next((layer.values for layer in layers if layer.name == "--additional-context"), {})
    nested = said.get("multi_node_args", {})
    wrong = [key for key in said if key != "multi_node_args"]
    wrong += [f"multi_node_args.{key}" for key in (nested if isinstance(nested, dict) else ()) if key not in _OWN_KEYS]
    if wrong:
        raise ContextError(
            f"--additional-context: found {', '.join(wrong)} beside --plan, which would change the plan; allowed: "
            f"multi_node_args with {', '.join(_OWN_KEYS)}"
        )
    context, _, _ = resolve(layers)
    return context, {key: getattr(context.multi_node_args, key) for key in nested}


def _then(file: Path, rank: int) -> _Then:
    folder = file.parent
    node = folder / f"node-{rank}"
    record = read_if_there(folder / RECORD)
    nodes = [node for node in record.get("nodes", []) if node.get("node") == rank]
    facts = read_if_there(node / "host.json") or (nodes[0].get("facts", {}) if nodes else {})
    try:
        explained = from_plain(tuple[Explained, ...], read_if_there(node / EXPLAINED) or [])
    except Invalid:
        explained = ()  # of another version: it is only shown
    run_id = folder.name if record or node.is_dir() else ""
    return _Then(run_id, {**record, "image": nodes[0].get("image_id", "") if nodes else ""}, facts, explained)


def _addressed(plan: Plan, node: NodePlan, given: dict[str, Any], prepared: Prepared) -> NodePlan:
    """The node's part with addresses that are right today; what was changed is a note of the run."""
    facts, job = prepared.facts, plan.job
    address = network.resolve(given.get("MASTER_ADDR", node.master_addr))
    said = str(given.get("MASTER_ADDR", node.master_addr))
    check_master_is_here(MultiNodeArgs(NNODES=job.nnodes, NODE_RANK=node.node_rank, MASTER_ADDR=said), address, facts)
    port = given.get("MASTER_PORT", node.master_port)
    if job.nnodes == 1 and "MASTER_PORT" not in given:
        claim = network.claim_free_port(port) if port in network.PORTS else None
        prepared.claims += [claim] if claim else []
        port = claim.port if claim else port
    moved = port - node.master_port
    control = given.get("CONTROL_PORT", node.control_port + moved)
    if node.node_rank == 0 and not network.port_is_free(port, address):
        raise ContextError(
            f"--plan: its MASTER_PORT {port} is in use on this host; end what listens there, or give another port on "
            "every node: --additional-context \"{'multi_node_args': {'MASTER_PORT': '29511'}}\""
        )
    return repeat.with_addresses(node, job, address, port, control)


def _planned(plan: Plan, context: Context, prepared: Prepared, of: tuple[Path, _Then, Any]) -> Planned:
    file, then, client = of
    job, node = plan.job, plan.node
    dockerfile = Path(node.repository, job.image.context, job.image.dockerfile)
    card = repeat.card_of(job, node, str(file), os.path.relpath(dockerfile, node.card_folder))
    files, image_context = _unchanged_files(plan, card, prepared, then)
    now = repeat.seen(to_plain(prepared.facts), job.in_container) | _provenance(plan, prepared.git_state, client)
    before = repeat.seen(then.facts, job.in_container) | _provenance_then(file, then)
    known = bool(then.facts)
    return Planned(
        card=card,
        plan=plan,
        context=context,
        files=files,
        image_context=image_context,
        secrets=_secrets(plan),
        notes=tuple(_interface_notes(node, prepared.facts)),
        filesystems=filesystems([*node.data_sources.values(), *_mounted(node)]),
        explained=then.explained or _as_planned(plan, then.run_id or str(file)),
        changes=_changes(before, now, known, file),
        repeats=then.run_id or str(file),
    )


def _changes(before: dict[str, str], now: dict[str, str], known: bool, file: Path) -> tuple[str, ...]:
    lines = [f"changed since: {line}" for line in repeat.changes(before, now)]
    return tuple(lines if known else [*lines, f"nothing beside {file} says how this host was when the plan was made"])


def _mounted(node: NodePlan) -> list[str]:
    mounts = node.container.mounts if node.container else ()
    return [mount.source for mount in mounts if mount.source.startswith("/")]


def _interface_notes(node: NodePlan, facts: HostFacts) -> list[str]:
    args = MultiNodeArgs(NCCL_SOCKET_IFNAME=node.nccl_ifname, GLOO_SOCKET_IFNAME=node.gloo_ifname)
    return interface_notes(args, facts.interfaces)


def _unchanged_files(
    plan: Plan, card: Card, prepared: Prepared, then: _Then
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The card's files and those of its image; `ContextError` where they are not what the plan was made from."""
    job, node = plan.job, plan.node
    try:
        if job.image.kind == "build":
            facts, files, image_context = card_facts(card, Context(), prepared.facts, job.runtime)
            recipe = plan_image(card, Context(), job.vendor, facts)
            if recipe.recipe != job.image.recipe:
                what = f"the recipe of its image (a file of {job.image.context}, or the Dockerfile)"
                raise _changed(what, (job.image.recipe, recipe.recipe), node, (then.commit, prepared.git_state))
            found = facts.script_hash
        else:
            files, image_context = cardtree.work_files(Path(node.card_folder), node.files, Path(node.repository)), {}
            found = cardtree.tree_hash(files)
    except CardError as error:
        raise ContextError(f"--plan: the card's files are not what they were: {error}") from None
    if found != job.script_hash:
        raise _changed("the card's files", (job.script_hash, found), node, (then.commit, prepared.git_state))
    return files, image_context


def _changed(
    what: str, hashes: tuple[str, str], node: NodePlan, commits: tuple[GitState, Future[GitState]]
) -> ContextError:
    was, now = commits[0], commits[1].result()
    text = f"--plan: changed since: {what}, {hashes[0][:12]} -> {hashes[1][:12]}"
    if was.commit or now.commit:
        text += f" (commit {_commit(was)} -> {_commit(now)})"
    where = f"git -C {node.repository}"
    hint = f"{where} diff {was.commit[:12]} -- {node.card_folder} shows how" if was.commit else ""
    if was.commit and not was.dirty:
        hint += f"; {where} checkout {was.commit[:12]} brings it back"
    elif was.dirty:
        hint += "; it had changes then that no commit holds"
    last = "or run the card as it is now, without --plan"
    return ContextError(f"{text}; {hint + '; ' if hint else ''}{last}")


def _commit(state: GitState) -> str:
    return f"{state.commit[:12]}{' with changes' if state.dirty else ''}" if state.commit else "unknown"


def _provenance_then(file: Path, then: _Then) -> dict[str, str]:
    """madrun's version, commit and image as the files beside the plan say them."""
    saved = read_if_there(file)
    found = {"madrun": str(saved.get("madrun", "")), "image": str(then.record.get("image", ""))}
    found["commit"] = _commit(then.commit) if then.commit.commit else ""
    return {name: value for name, value in found.items() if value}


def _provenance(plan: Plan, commit: Future[GitState], client: Any) -> dict[str, str]:
    found = {"madrun": __version__, "commit": _commit(commit.result()), "image": _image_id(plan, client)}
    return {name: value for name, value in found.items() if value}


def _image_id(plan: Plan, client: Any) -> str:
    """Id of the image that has the plan's name on this host today."""
    if client is None or not plan.job.in_container:
        return ""
    from docker.errors import APIError

    try:
        return str(client.inspect_image(plan.job.image.name)["Id"])
    except APIError:
        return "not here yet"


def _secrets(plan: Plan) -> dict[str, str]:
    """The values that a plan never holds, from this environment."""
    arguments = [name for name, value in plan.job.image.build_args.items() if value == SECRET]
    names = dict.fromkeys((*plan.job.secrets, *arguments))
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ContextError(
            f"--plan: needs the secret {', '.join(missing)}, which no plan holds; set it in the environment: "
            f"{missing[0]}=... madrun run --plan ..."
        )
    return {name: os.environ[name] for name in names}


def _as_planned(plan: Plan, source: str) -> tuple[Explained, ...]:
    node = plan.node
    env = node.container.env if node.container else node.process.env if node.process else {}
    return tuple(
        Explained(key=name, value="***" if value == SECRET else value, layer=f"plan of {source}", variable=name)
        for name, value in env.items()
    )
