"""What the agents are given for one run of a command."""

from __future__ import annotations

import os
from dataclasses import replace

from madrun.cli.datafacts import data_credentials
from madrun.cli.prepare import Planned, Prepared
from madrun.cli.provenance import provenance_of, unmeasured
from madrun.cli.request import Request
from madrun.data.state import data_states
from madrun.node.task import Task
from madrun.probe.environment import user_folder
from madrun.spec.credentials import Credentials
from madrun.spec.launch import LAUNCH
from madrun.spec.masking import without_secrets


def make_task(request: Request, prepared: Prepared, planned: Planned, which: tuple[int, str, bool]) -> Task:
    """The task of the run `which`: its index in the command, its number among repetitions, whether it is kept alive."""
    index, number, keep_alive = which
    node = planned.plan.node
    data = data_states(node.data_sources, node.mirrors)

    def provenance() -> dict[str, str]:
        more = {"repeats": planned.repeats, "repetition": number}
        return provenance_of(prepared, planned) | {name: value for name, value in more.items() if value}

    return Task(
        plan=planned.plan,
        index=index,
        results=request.results,
        secrets=planned.secrets,
        facts=replace(prepared.facts, process_env={}, filesystems=planned.filesystems, data=data),
        files=planned.files,
        image_context=planned.image_context,
        lock_dir=user_folder("cache") / "locks",
        engine=prepared.engine if planned.plan.job.in_container else None,
        command=without_secrets(request.command, planned.secrets),
        provenance=provenance,
        notes=(*planned.changes, *planned.notes),
        explained=planned.explained,
        keep_alive=keep_alive,
        keep_directory=request.files.keep_model_dir,
        skip_script=request.files.skip_model_run,
        image_then=planned.image_then,
        clone_then=planned.clone_then,
        unmeasured=unmeasured(planned),
        launch=os.environ.get(LAUNCH, ""),
        credentials=data_credentials(node.repository) if node.fetches else Credentials(),
        host_env=dict(os.environ) if node.fetches else {},
        images=prepared.images,
    )
