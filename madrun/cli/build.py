"""`madrun build`: the images of the selected cards, built or pulled where this host lacks them; nothing is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from madrun.cli.prepare import Planned, Prepared, prepare
from madrun.cli.request import Request
from madrun.cli.screen import Screen
from madrun.errors import BuildError, EngineError, ExitCode, UsageError
from madrun.node.imageplace import image_place
from madrun.probe.environment import user_folder
from madrun.runtimes import images
from madrun.spec.codec import to_json, to_plain
from madrun.spec.masking import without_secrets
from madrun.spec.plan import filled
from madrun.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one image. `how` is `found`, `pulled`, `built` or `failed`; `log` names a file if there is one."""

    image: str
    cards: tuple[str, ...]
    how: str
    identity: str = ""
    id: str = ""
    seconds: float = 0.0
    log: str = ""
    error: str = ""


@dataclass(slots=True)
class _Log:
    """The log of one image under `results`; there is a file only once there is a line."""

    path: Path
    file: TextIO | None = field(default=None)

    def write(self, line: str) -> None:
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("w", encoding="utf-8")
        self.file.write(line + "\n")
        self.file.flush()


def build_images(request: Request, as_json: bool) -> int:
    """Prints a line for each image on stdout, what happens meanwhile on stderr; exit code 2 where one failed."""
    prepared = prepare(request)
    if prepared.engine is None:
        if request.flags.get("runtime") == "process":
            raise EngineError("--runtime: found process, which has no images to build; allowed: auto, docker, podman")
        absent = prepared.facts.engine_absent
        raise EngineError(f"madrun build needs a container engine: {absent}; start one (docs/engines.md says how)")
    screen = Screen()
    try:
        rows = [_build(request, prepared, planned, screen) for planned in _by_image(prepared)]
        if not as_json:
            screen.show(_lines(rows))
    finally:
        screen.close()
    if as_json:
        sys.stdout.write(to_json([to_plain(row) for row in rows]))
    return int(ExitCode.USAGE if any(row.error for row in rows) else ExitCode.OK)


def _by_image(prepared: Prepared) -> list[list[Planned]]:
    """The cards by the image that they share, in order."""
    found: dict[str, list[Planned]] = {}
    for planned in prepared.planned:
        found.setdefault(planned.plan.job.image.name, []).append(planned)
    if "" in found:
        names = ", ".join(planned.card.name for planned in found.pop(""))
        raise UsageError(f"madrun build: found {names} with runtime process, which uses no image; leave it out")
    return list(found.values())


def _build(request: Request, prepared: Prepared, sharing: list[Planned], screen: Screen) -> Row:
    first = sharing[0]
    image, secrets = first.plan.job.image, first.secrets
    row = Row(image=image.name, cards=tuple(planned.card.name for planned in sharing), how="failed")
    place = image_place(prepared.engine, prepared.facts.engine, user_folder("cache") / "locks")
    with _log_of(request, image.file_name) as log:
        watch = images.Watch(log=log.write, show=screen.line, secrets=secrets)
        try:
            made = images.ensure(
                place, replace(image, build_args=filled(image.build_args, secrets)), first.image_context, watch
            )
        except BuildError as error:
            (text,) = without_secrets((str(error),), secrets)
            screen.say(f"error: {text}")
            return replace(row, error=text, log=_shown(log))
    return replace(
        row, how=made.how, identity=made.identity, id=made.id, seconds=round(made.seconds, 3), log=_shown(log)
    )


@contextmanager
def _log_of(request: Request, name: str) -> Iterator[_Log]:
    log = _Log(request.results / "builds" / f"{name}.log")
    try:
        yield log
    except OSError as error:
        raise UsageError(f"--results: {log.path} cannot be written: {error.strerror}; name another directory") from None
    finally:
        if log.file is not None:
            log.file.close()


def _shown(log: _Log) -> str:
    return str(log.path) if log.file is not None else ""


def _lines(rows: list[Row]) -> list[str]:
    width = max((len(row.image) for row in rows), default=0)
    return [
        f"{row.image:<{width}}  {row.how:<6}  {format_duration(row.seconds):>7}  {row.identity or '-'}  "
        f"({', '.join(row.cards)})" + (f"  log {row.log}" if row.log else "")
        for row in rows
    ]
