"""--manifest-output: a build manifest of the images of a command, for hosts that are to run them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from madrun.cli.prepare import Planned, Prepared
from madrun.cli.summary import Finished
from madrun.errors import UsageError
from madrun.planning.image import ARCHITECTURE
from madrun.runtimes.images import identity_of
from madrun.spec.card import Card
from madrun.spec.codec import to_json
from madrun.spec.context import is_secret
from madrun.spec.manifest import BuiltImage, Manifest
from madrun.spec.masking import without_secrets
from madrun.spec.plan import ImagePlan

FLAG = "--manifest-output"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOfCard:
    """A card with the image that it runs in, what it took to make it, and where else it lies."""

    planned: Planned
    image: ImagePlan
    seconds: float = 0.0
    log: str = ""
    registry_image: str = ""


def write_manifest(file: str, prepared: Prepared, made: Iterable[ImageOfCard], failed: Iterable[str] = ()) -> None:
    """Writes the manifest as a whole; no secret stands in it. `UsageError` where the file cannot be written."""
    from madrun.results.rundir import write_atomically

    entries = list(made)
    secrets = {name: value for entry in entries for name, value in entry.planned.secrets.items()}
    (text,) = without_secrets((to_json(_document(prepared, entries, sorted(set(failed)))),), secrets)
    path = Path(file).expanduser()
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"{FLAG}: {path} could not be written: {error.strerror}") from None


def write_of_runs(file: str, prepared: Prepared, finished: Iterable[Finished]) -> None:
    """The manifest of the images in which cards ran, each once; a card whose image failed is named as such."""
    made: dict[str, ImageOfCard] = {}
    failed = []
    for one in finished:
        image, outcome = one.planned.plan.job.image, one.ended.outcome
        if not outcome.image_identity:
            failed.append(one.planned.card.name)
            continue
        reference = prepared.images.reference(image)
        entry = ImageOfCard(planned=one.planned, image=image, seconds=outcome.build_s, registry_image=reference)
        made.setdefault(_key(entry), entry)
    write_manifest(file, prepared, made.values(), failed)


def _document(prepared: Prepared, entries: list[ImageOfCard], failed: list[str]) -> dict[str, Any]:
    keys = [_key(entry) for entry in entries]
    context = entries[0].planned.context if entries else None
    said = {
        "docker_env_vars": _open(context.docker_env_vars) if context else {},
        "docker_mounts": dict(context.docker_mounts) if context else {},
        "docker_build_arg": _open(context.docker_build_arg) if context else {},
        "gpu_vendor": context and context.gpu_vendor,
        "guest_os": context and context.guest_os,
        "docker_gpus": context and context.docker_gpus,
    }
    models = {key: model_of(entry.planned.card) for key, entry in zip(keys, entries, strict=True)}
    return asdict(
        Manifest(
            built_images={key: _image(prepared, entry) for key, entry in zip(keys, entries, strict=True)},
            built_models=models,
            context={key: value for key, value in said.items() if value},
            credentials_required=tuple(sorted({model["cred"] for model in models.values() if model.get("cred")})),
            summary={
                "successful_builds": keys,
                "failed_builds": failed,
                "total_build_time": round(sum(entry.seconds for entry in entries), 3),
            },
            deployment_config={"target": "local"},
        )
    )


def _key(entry: ImageOfCard) -> str:
    return entry.image.tag or entry.planned.card.name


def _image(prepared: Prepared, entry: ImageOfCard) -> BuiltImage:
    image = entry.image
    found = prepared.engine.inspect_image(image.name)
    return BuiltImage(
        docker_image=image.name,
        dockerfile=image.source,
        base_docker=image.base,
        docker_sha=identity_of(found, entry.registry_image or image.name),
        build_duration=round(entry.seconds, 3),
        build_command=f"madrun build --tags {entry.planned.card.name}",
        log_file=entry.log,
        gpu_vendor=(entry.planned.context.gpu_vendor or prepared.facts.accelerator.vendor).upper(),
        gpu_architecture=image.build_args.get(ARCHITECTURE, ""),
        registry=entry.registry_image.partition("/")[0],
        registry_image=entry.registry_image,
    )


def model_of(card: Card) -> dict[str, Any]:
    """The card as an entry of models.json, with paths from the root; of a native card the name alone."""
    if card.mad is None:
        return {"name": card.name}
    mad = card.mad
    entry: dict[str, Any] = {
        "name": card.name,
        "dockerfile": mad.dockerfile,
        "scripts": posixpath.normpath(os.path.relpath(Path(card.folder, card.script), card.repository)),
        "n_gpus": mad.n_gpus,
        "args": card.args,
        "tags": list(card.tags),
        "owner": mad.owner,
        "training_precision": card.training_precision,
        "url": mad.url,
        "data": ",".join(card.data),
        "cred": mad.cred,
        "multiple_results": card.multiple_results or "",
        "timeout": card.timeout_s,
        "dockercontext": mad.context,
        "skip_gpu_arch": ",".join(mad.skip_gpu_arch),
        "additional_docker_run_options": mad.docker_options,
        "distributed": mad.distributed,
        "slurm": mad.slurm,
        "env_vars": mad.env_vars,
        "log_error_pattern_scan": None if mad.log_errors.scan else False,
        "log_error_patterns": mad.log_errors.patterns,
        "log_error_benign_patterns": list(mad.log_errors.benign),
        "nnodes": mad.nnodes,
    }
    needed = ("name", "dockerfile", "scripts", "n_gpus", "args", "tags")
    return {key: value for key, value in entry.items() if key in needed or value not in (None, "", [], {})}


def _open(values: dict[str, str]) -> dict[str, str]:
    """Those that are no secrets."""
    return {name: value for name, value in values.items() if not is_secret(name)}
