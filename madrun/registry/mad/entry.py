"""One entry of models.json, or one object of a generator, as a card."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.spec.card import Card
from madrun.spec.mad import ALL_GPUS, LogErrors, MadCard


def card_of(entry: Any, file: Path, repository: Path, scope: str) -> Card:
    """The card that the entry of `file` means; `scope` is the folder of the file below scripts/, empty for the root.

    Raises `CardError` with file and card.
    """
    if not isinstance(entry, dict):
        raise CardError(f"{file}: found {type(entry).__name__}, allowed: an object with name, dockerfile, scripts")
    for key in ("name", "dockerfile", "scripts"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise CardError(f"{file}: {entry.get('name', '?')}: {key}: found {entry.get(key)!r}, allowed: text")
    script = _placed(entry["scripts"], scope)
    folder, name = posixpath.split(script) if posixpath.splitext(script)[1] else (script, "run.sh")
    count = str(entry.get("n_gpus", ALL_GPUS))
    timeout = entry.get("timeout")
    return Card(
        name=f"{scope}/{entry['name']}" if scope else entry["name"],
        folder=str(repository / folder),
        repository=str(repository),
        source=str(file),
        script=name,
        args=str(entry.get("args", "")),
        description="",
        tags=_words(entry.get("tags", ())),
        gpus_per_node=None if count == ALL_GPUS else int(count),
        data=_words(entry.get("data", "")),
        timeout_s=None if timeout is None else max(float(timeout), 0.0),
        multiple_results=entry.get("multiple_results") or None,
        training_precision=str(entry.get("training_precision", "")),
        mad=MadCard(
            short=entry["name"],
            dockerfile=_placed(entry["dockerfile"], scope),
            context=str(entry.get("dockercontext", "")),
            n_gpus=count,
            url=str(entry.get("url", "")),
            cred=str(entry.get("cred", "")),
            owner=str(entry.get("owner", "")),
            skip_gpu_arch=_words(entry.get("skip_gpu_arch", "")),
            docker_options=str(entry.get("additional_docker_run_options", "")),
            is_deprecated=bool(entry.get("is_deprecated", False)),
            log_errors=LogErrors(),
        ),
    )


def _placed(path: str, scope: str) -> str:
    return posixpath.normpath(posixpath.join("scripts", scope, path) if scope else path)


def _words(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())
