"""`--plan` of a launch, looked at on the launching host: what is carried has to be what the plan was made from."""

from __future__ import annotations

import os
from pathlib import Path

from madrun import __version__
from madrun.cli.cardfacts import work_files
from madrun.cli.saved import first_run, read_json
from madrun.cli.standing import there_again
from madrun.errors import CardError, ContextError
from madrun.planning import repeat
from madrun.planning.elsewhere import at_repository
from madrun.registry import cardtree
from madrun.spec.plan import Plan

_OTHERWISE = "or run the card as it is now, without --plan"


def check_plan(file: Path, repository: Path) -> Plan:
    """The plan; `ContextError` where it was edited, or where the card's files in this repository are others by now.

    Each node finds out the rest: whether it can do what the plan says of it. A plan of another repository that is
    there at its own path is left to the nodes, which may see it there too.
    """
    plan = repeat.read_plan(read_json(file, "--plan", ContextError), str(file), __version__)
    said = Path(plan.node.repository)
    if said != repository and said.is_dir():
        return plan
    node = at_repository(plan.node, plan.job, str(repository))
    dockerfile = repository / plan.job.image.context / plan.job.image.dockerfile
    card = repeat.card_of(plan.job, node, str(file), os.path.relpath(dockerfile, node.card_folder))
    try:
        files = work_files(card) | {name: Path(path) for name, path in node.placed.items()}
        found = cardtree.tree_hash(dict(sorted(files.items())))
    except CardError as error:
        raise ContextError(
            f"--plan: {repository} is not what the plan was made from: {error}; nothing was started; bring the files "
            f"back, {_OTHERWISE}"
        ) from None
    if found != plan.job.script_hash:
        was = first_run(file, plan.madrun, node.node_rank).commit
        place = repository if node.placed else Path(node.card_folder)
        what = f"--plan: changed since: the card's files, {plan.job.script_hash[:12]} -> {found[:12]}"
        raise ContextError("; ".join([what, *there_again(was, str(repository), place), _OTHERWISE]))
    return plan
