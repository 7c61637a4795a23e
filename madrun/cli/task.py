"""What the agents are given for one run of a command."""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace

from madrun.cli.prepare import Planned, Prepared
from madrun.cli.request import Request
from madrun.data.state import data_states
from madrun.node.task import Task
from madrun.probe.environment import user_folder
from madrun.spec.facts import Accelerator
from madrun.spec.masking import without_secrets


def make_task(request: Request, prepared: Prepared, planned: Planned, which: tuple[int, str, bool]) -> Task:
    """The task of the run `which`: its index in the command, its number among repetitions, whether it is kept alive."""
    index, number, keep_alive = which
    node = planned.plan.node
    data = data_states(node.data_sources, node.mirrors)

    def provenance() -> dict[str, str]:
        more = {"repeats": planned.repeats, "repetition": number}
        return _provenance(prepared, planned) | {name: value for name, value in more.items() if value}

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
        image_then=planned.image_then,
    )


def _provenance(prepared: Prepared, planned: Planned) -> dict[str, str]:
    """What the record says of where the numbers came from; the names are columns of perf.csv where it has them."""
    job, facts = planned.plan.job, prepared.facts
    commit = prepared.git_state.result()
    return {
        "training_precision": job.training_precision,
        "pipeline": os.environ.get("pipeline", ""),  # noqa: SIM112 - the name that MAD uses
        "build_number": os.environ.get("BUILD_NUMBER", ""),
        "docker_file": posixpath.normpath(f"{job.image.context}/{job.image.dockerfile}")
        if job.image.dockerfile
        else "",
        "base_docker": job.image.base,
        "docker_image": job.image.name,
        "git_commit": commit.commit,
        "git_dirty": str(commit.dirty).lower() if commit.commit else "",
        "machine_name": facts.hostname,
        "gpu_architecture": _architecture(facts.accelerator),
        "dataname": ",".join(item.name for item in job.data),
        "data_provider_type": ",".join(item.provider for item in job.data),
        "repository": str(prepared.repository),
        "script_hash": job.script_hash,
    }


def _architecture(accelerator: Accelerator) -> str:
    """As MAD writes it: gfx942 of an AMD GPU, the product's name of an NVIDIA one."""
    return accelerator.model if accelerator.vendor == "nvidia" else accelerator.arch
