"""What of a MAD card has no place in a native one, a sentence for each."""

from __future__ import annotations

from collections.abc import Iterator

from madrun.spec.card import Card
from madrun.spec.mad import LogErrors


def lost(card: Card) -> Iterator[str]:
    """Every field with a value that the native card does not carry."""
    mad = card.mad
    assert mad is not None
    said = {
        "url": (mad.url, "the script ran in a clone of it; clone it in the script or in the Dockerfile"),
        "cred": (mad.cred, "give its variables with --env NAME, in the shape <cred>_<KEY>"),
        "skip_gpu_arch": (", ".join(mad.skip_gpu_arch), "check the architecture in the script, or choose cards by tag"),
        "additional_docker_run_options": (
            mad.docker_options,
            "docker_mounts, docker_env_vars or shm_size",
        ),
        "is_deprecated": ("true" if mad.is_deprecated else "", "remove the card, or tag it"),
        "distributed": (mad.distributed, "runner in the card; NNODES and so on in multi_node_args of the context"),
        "slurm": (mad.slurm, "give what is needed where the job is started"),
        "env_vars": (mad.env_vars, "it never reached a local container; `env` of a card does"),
        "log_error_*": (mad.log_errors != LogErrors(), "declare metrics with bounds: they decide"),
        "nnodes": (mad.nnodes, "NNODES in multi_node_args of the context"),
    }
    for name, (value, instead) in said.items():
        if value:
            shown = "" if value is True else f" {value}"
            yield f"{name}{shown}: not carried over; instead: {instead}"
