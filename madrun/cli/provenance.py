"""What a record says of where its numbers came from; the names are columns of perf.csv where it has them."""

from __future__ import annotations

import os
import posixpath
import shlex

from madrun.cli.leftout import LeftOut
from madrun.cli.prepare import Planned, Prepared
from madrun.spec.facts import Accelerator
from madrun.spec.launch import CASE
from madrun.spec.masking import without_secrets


def provenance_of(prepared: Prepared, planned: Planned) -> dict[str, str]:
    """Of a card that is run."""
    job = planned.plan.job
    container = planned.plan.node.container
    options = without_secrets(container.options if container else (), planned.secrets)
    return _of_this_place(prepared) | {
        "training_precision": job.training_precision,
        "docker_file": posixpath.normpath(job.image.source) if job.image.source else "",
        "base_docker": job.image.base,
        "docker_image": job.image.name,
        **({"mad_image": job.image.tag} if job.image.tag else {}),
        "dataname": ",".join(item.name for item in job.data),
        "data_provider_type": ",".join(item.provider for item in job.data),
        "additional_docker_run_options": shlex.join(options),
        "script_hash": job.script_hash,
    }


def provenance_of_left_out(prepared: Prepared, one: LeftOut) -> dict[str, str]:
    """Of a card that is not run."""
    card = one.card
    return _of_this_place(prepared) | {
        "training_precision": card.training_precision if card else "",
        "dataname": ",".join(card.data) if card else "",
    }


def _of_this_place(prepared: Prepared) -> dict[str, str]:
    """Checkout, host, and what a CI system says of itself in the environment."""
    commit, facts = prepared.git_state.result(), prepared.facts
    case = os.environ.get(CASE)
    return {
        **({"case": case} if case else {}),
        "pipeline": os.environ.get("pipeline", ""),  # noqa: SIM112 - the name that MAD uses
        "build_number": os.environ.get("BUILD_NUMBER", ""),
        "git_commit": commit.commit,
        "git_dirty": str(commit.dirty).lower() if commit.commit else "",
        "machine_name": facts.hostname,
        "gpu_architecture": _architecture(facts.accelerator),
        "repository": str(prepared.repository),
    }


def _architecture(accelerator: Accelerator) -> str:
    """As MAD writes it: gfx942 of an AMD GPU, the product's name of an NVIDIA one."""
    return accelerator.model if accelerator.vendor == "nvidia" else accelerator.arch


_OFF = ("false", "0", "no")


def unmeasured(planned: Planned) -> str:
    """Who asked that the script of this node need not print a number; empty where nobody did."""
    job, node = planned.plan.job, planned.plan.node
    if job.log_errors is None:
        return ""
    if planned.context.skip_perf_collection:
        return "skip_perf_collection is set in the context"
    env = job.env | (node.container.env if node.container else node.process.env if node.process else {})
    said = env.get("MAD_COLLECT_METRICS", "")
    return f"MAD_COLLECT_METRICS is {said}" if said.strip().lower() in _OFF else ""
