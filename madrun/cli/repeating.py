"""`--plan`: from a saved plan to one that this host executes again, and what is not as it was then."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from madrun import __version__
from madrun.cli.around import cache_folder, common_hash
from madrun.cli.cardfacts import card_facts, work_files
from madrun.cli.imagepolicy import shared_images
from madrun.cli.layers import user_layers
from madrun.cli.place import port_notes, resolve_master
from madrun.cli.prepare import Planned, Prepared, filesystems, look, look_at_git
from madrun.cli.request import Request
from madrun.cli.saved import First, find_plan, first_run, read_json
from madrun.cli.standing import ImageHere, check_paths, image_here, there_again
from madrun.data.state import data_states
from madrun.errors import CardError, ContextError
from madrun.planning import repeat
from madrun.planning.elsewhere import at_repository
from madrun.planning.explain import Explained
from madrun.planning.job import plan_image
from madrun.planning.layers import resolve
from madrun.planning.namedinterfaces import interface_notes
from madrun.planning.node import owner_of
from madrun.planning.samegpus import gpu_changes
from madrun.planning.topology import check_ranks, with_scheduler
from madrun.probe import network
from madrun.probe.environment import launched_by
from madrun.registry import cardtree
from madrun.registry.mad import credentials
from madrun.runners import RUNNERS
from madrun.runtimes.images.policy import Policy
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import GitState
from madrun.spec.launch import REPOSITORY
from madrun.spec.mad import COMMON
from madrun.spec.plan import SECRET, NodePlan, Plan

_OWN_KEYS = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "CONTROL_PORT")


def prepare_saved(request: Request, saved: str) -> Prepared:
    """The one plan to be executed again. Raises the error of the first thing that makes it another one."""
    file = find_plan(saved, request.results)
    plan = repeat.read_plan(read_json(file, "--plan", ContextError), str(file), __version__)
    context, given = _own_words(request)
    facts, client = look(plan.job.runtime, request.results)
    rank = with_scheduler({"NNODES": plan.job.nnodes, **given}, facts.scheduler).get("NODE_RANK")
    node = repeat.node_part(plan, None if rank is None else int(str(rank)), facts.hostname, str(file))
    node = _where_it_was_brought(node, plan)
    then = first_run(file, plan.madrun, node.node_rank)
    repeat.check_host(plan.job, node, facts, then.facts)
    check_paths(node)
    repository = Path(node.repository)
    git_state = look_at_git(repository)
    prepared = Prepared(repository=repository, facts=facts, engine=client, planned=[], git_state=git_state)
    prepared.images = Policy(shared=shared_images())
    node = repeat.with_cache(node, cache_folder())
    today = repeat.for_owner(_addressed(plan, node, given, prepared), owner_of(plan.job, facts), facts.uid)
    moved = repeat.changes(repeat.addresses(node), repeat.addresses(today))
    plan = replace(plan, nodes=(replace(today, hostname=facts.hostname),), madrun=__version__)
    planned = _planned(plan, context, prepared, (file, then, client))
    changes = (*planned.changes, *(f"changed since: {line}" for line in moved))
    prepared.planned.append(replace(planned, changes=changes))
    return prepared


def _where_it_was_brought(node: NodePlan, plan: Plan) -> NodePlan:
    """On a node of a launch the part for the repository in which it was started; its files are compared as ever."""
    if launched_by() and (os.environ.get(REPOSITORY) or not Path(node.repository).is_dir()):
        return at_repository(node, plan.job, str(Path.cwd()))
    return node


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
    values = {key: getattr(context.multi_node_args, key) for key in nested}
    return context, {key: value for key, value in values.items() if value is not None}


def _addressed(plan: Plan, node: NodePlan, given: dict[str, Any], prepared: Prepared) -> NodePlan:
    """The node's part with addresses that are right today; what was changed is a note of the run."""
    facts, job = prepared.facts, plan.job
    said = str(given.get("MASTER_ADDR", node.master_addr))
    args = MultiNodeArgs(NNODES=job.nnodes, NODE_RANK=node.node_rank, MASTER_ADDR=said, RUNNER=job.runner)
    address = resolve_master(args, facts)
    port = given.get("MASTER_PORT", node.master_port)
    if job.nnodes == 1 and "MASTER_PORT" not in given:
        claim = network.claim_free_port(port) if port in network.PORTS else None
        prepared.claims += [claim] if claim else []
        port = claim.port if claim else port
    moved = port - node.master_port
    control = given.get("CONTROL_PORT", node.control_port + moved)
    check_ranks(replace(args, MASTER_PORT=port, CONTROL_PORT=control), tuple(RUNNERS))
    if job.nnodes > 1 and not 0 < control < 65536:
        raise ContextError(f"multi_node_args.CONTROL_PORT: would be {control} beside MASTER_PORT {port}; give it")
    if node.node_rank == 0:
        _check_ports(port, control if job.nnodes > 1 else None, address)
    return repeat.with_addresses(node, job, address, port, control, network.local_address_towards(address))


def _check_ports(port: int, control: int | None, address: str) -> None:
    for key, number in (("MASTER_PORT", port), ("CONTROL_PORT", control)):
        trouble = network.port_trouble(number, address) if number is not None else ""
        if trouble:
            other = 29511 if key == "MASTER_PORT" else 29512
            raise ContextError(
                f"--plan: its {key} {number} {trouble}: --additional-context "
                f"\"{{'multi_node_args': {{'{key}': '{other}'}}}}\""
            )


def _planned(plan: Plan, context: Context, prepared: Prepared, of: tuple[Path, First, Any]) -> Planned:
    file, then, client = of
    job, node = plan.job, plan.node
    dockerfile = Path(node.repository, job.image.context, job.image.dockerfile)
    card = repeat.card_of(job, node, str(file), os.path.relpath(dockerfile, node.card_folder))
    files, image_context = _unchanged_files(plan, card, prepared, then)
    facts = replace(prepared.facts, data=data_states(node.data_sources, node.mirrors))
    now = repeat.seen(to_plain(facts), job.in_container) | _provenance(__version__, prepared.git_state.result())
    before = repeat.seen(then.facts, job.in_container) | _provenance(then.madrun, then.commit)
    image = image_here(client, job) if job.in_container else ImageHere()
    moved = [*repeat.changes(before, now), *gpu_changes(node, then.facts, facts), *image.changes(then.image)]
    return Planned(
        card=card,
        plan=plan,
        context=context,
        files=files,
        image_context=image_context,
        secrets=_secrets(plan),
        notes=(
            *interface_notes(node.gloo_ifname, node.nccl_ifname, prepared.facts.interfaces),
            *port_notes(node, job.nnodes),
        ),
        filesystems=filesystems([*node.data_sources.values(), *_mounted(node)]),
        explained=then.explained or _as_planned(plan, then.run_id or str(file)),
        changes=_changes(moved, bool(then.facts), file),
        repeats=then.run_id or str(file),
        image_then=then.image if job.in_container else "",
        clone_then=then.cloned,
    )


def _changes(moved: list[str], known: bool, file: Path) -> tuple[str, ...]:
    lines = [f"changed since: {line}" for line in moved]
    return tuple(lines if known else [*lines, f"nothing beside {file} says how this host was when the plan was made"])


def _mounted(node: NodePlan) -> list[str]:
    mounts = node.container.mounts if node.container else ()
    return [mount.source for mount in mounts if mount.source.startswith("/")]


def _unchanged_files(
    plan: Plan, card: Card, prepared: Prepared, then: First
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The card's files and those of its image; `ContextError` where they are not what the plan was made from."""
    job, node = plan.job, plan.node
    commits = (then.commit, prepared.git_state)
    try:
        if job.image.kind == "build":
            place = Path(node.repository, job.image.context)
            dockerfile = Path(node.repository, node.dockerfile) if node.dockerfile else place / job.image.dockerfile
            if Path(node.card_folder).is_dir() and not dockerfile.is_file():
                raise _changed(f"{dockerfile}, which has gone", node.repository, dockerfile.parent, commits)
            facts, _, image_context = card_facts(card, Context(), prepared.facts, job.runtime)
            recipe = plan_image(card, Context(), job.vendor, facts)
            if recipe.recipe != job.image.recipe:
                what = f"the recipe of its image (a file of {job.image.context}, or the Dockerfile), "
                what += _hashes(job.image.recipe, recipe.recipe)
                raise _changed(what, node.repository, place, commits)
        else:
            image_context = {}
        files = work_files(card) | {name: Path(path) for name, path in node.placed.items()}
        found = cardtree.tree_hash(files := dict(sorted(files.items())))
    except CardError as error:
        raise ContextError(f"--plan: the card's files are not what they were: {error}") from None
    if found != job.script_hash:
        what = f"the card's files, {_hashes(job.script_hash, found)}"
        # what stands among the card's files and is not in its folder may be anywhere in the repository
        raise _changed(what, node.repository, Path(node.repository if node.placed else node.card_folder), commits)
    if node.checkout and common_hash(files, job.args, Path(node.repository)) != job.common:
        raise _changed(f"what the card uses of {COMMON}", node.repository, Path(node.repository, COMMON), commits)
    return files, image_context


def _hashes(then: str, now: str) -> str:
    return f"{then[:12]} -> {now[:12]}"


def _changed(what: str, repository: str, folder: Path, commits: tuple[GitState, Future[GitState]]) -> ContextError:
    """The refusal, with the commands that show the change and take it back in this folder alone."""
    was, now = commits[0], commits[1].result()
    text = f"--plan: changed since: {what}"
    if was.commit or now.commit:
        text += f" (commit {_commit(was)} -> {_commit(now)})"
    return ContextError(
        "; ".join([text, *there_again(was, repository, folder), "or run the card as it is now, without --plan"])
    )


def _commit(state: GitState) -> str:
    return f"{state.commit[:12]}{' with changes' if state.dirty else ''}" if state.commit else "unknown"


def _provenance(madrun: str, commit: GitState) -> dict[str, str]:
    found = {"madrun": madrun, "commit": _commit(commit) if commit.commit else ""}
    return {name: value for name, value in found.items() if value}


def _secrets(plan: Plan) -> dict[str, str]:
    """The values that a plan never holds, from this environment."""
    arguments = [name for name, value in plan.job.image.build_args.items() if value == SECRET]
    names = dict.fromkeys((*plan.job.secrets, *arguments))
    folder = Path(plan.node.repository)
    known = (credentials.read(folder, os.environ).variables(plan.job.cred) if plan.job.cred else {}) | dict(os.environ)
    missing = [name for name in names if name not in known]
    if missing:
        raise ContextError(
            f"--plan: needs the secret {', '.join(missing)}, which no plan holds; set it in the environment: "
            f"{missing[0]}=... madrun run --plan ..."
        )
    return {name: known[name] for name in names}


def _as_planned(plan: Plan, source: str) -> tuple[Explained, ...]:
    node = plan.node
    env = node.container.env if node.container else node.process.env if node.process else {}
    return tuple(
        Explained(key=name, value="***" if value == SECRET else value, layer=f"plan of {source}", variable=name)
        for name, value in env.items()
    )
