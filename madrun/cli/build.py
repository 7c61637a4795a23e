"""`madrun build`: the images of the selected cards, built or pulled where this host lacks them; nothing is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from madrun.cli.ahead import AT_A_TIME, end
from madrun.cli.batch import registries_of
from madrun.cli.buildlog import log_of
from madrun.cli.leftout import LeftOut
from madrun.cli.prepare import Planned, Prepared, prepare
from madrun.cli.request import Request, of_every_card
from madrun.cli.screen import Screen
from madrun.cli.sharednotes import shared_notes
from madrun.cli.tables import some
from madrun.errors import BuildError, EngineError, ExitCode, UsageError
from madrun.node.imageplace import image_place
from madrun.planning.image import for_architecture
from madrun.probe.environment import user_folder
from madrun.registry.selection import LEFT_OUT
from madrun.results.rundir import write_atomically
from madrun.runtimes import images
from madrun.spec.codec import to_json, to_plain
from madrun.spec.masking import without_secrets
from madrun.spec.plan import ImagePlan, filled
from madrun.units import format_duration

_SHOWN = 8  # names of cards in the line of an image; JSON has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one image. `how` is `found`, `pulled`, `built` or `failed`; `log` names a file if there is one.

    `image` is empty for a card that is wrong, so that it is not known which image it wants.

    `tag`: the name that MAD gives it; `registry_image`: what it is called in the registry that has it.
    """

    image: str
    cards: tuple[str, ...]
    how: str
    identity: str = ""
    id: str = ""
    seconds: float = 0.0
    log: str = ""
    error: str = ""
    tag: str = ""
    registry_image: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """One image that is to be there, and the cards that share it."""

    image: ImagePlan
    sharing: tuple[Planned, ...]
    policy: images.Policy
    architecture: str = ""


def build_images(request: Request, as_json: bool) -> int:
    """Prints a line for each image on stdout, what happens meanwhile on stderr; exit code 2 where one failed."""
    prepared = prepare(of_every_card(request), leave_out=True)
    if prepared.stop is not None:
        raise prepared.stop
    if prepared.engine is None:
        if request.flags.get("runtime") == "process":
            raise EngineError("--runtime: found process, which has no images to build; allowed: auto, docker, podman")
        absent = prepared.facts.engine_absent
        raise EngineError(f"madrun build needs a container engine: {absent}; start one (docs/engines.md says how)")
    work = [one for sharing in _by_image(prepared) for one in _work(request, prepared, sharing)]
    screen = Screen()
    try:
        for note in shared_notes((one.card, note) for one in prepared.planned for note in one.card.warnings):
            if not note.startswith(LEFT_OUT):  # its row says so
                screen.line(note)
        without = [_without_image(one, screen) for one in prepared.left_out]
        rows = _build_all(request, prepared, work, screen)
        if not as_json:
            screen.show(_lines([*without, *rows]))
    finally:
        screen.close()
    if as_json:
        sys.stdout.write(to_json([to_plain(row) for row in (*without, *rows)]))
    _write_files(request, prepared, work, (without, rows))
    return int(ExitCode.USAGE if any(row.error for row in (*without, *rows)) else ExitCode.OK)


def _without_image(one: LeftOut, screen: Screen) -> Row:
    """The row of a card that is wrong; the others get their images."""
    screen.say(f"error: {one.reason}")
    return Row(image="", cards=(one.name,), how="failed", error=one.reason)


def _by_image(prepared: Prepared) -> list[list[Planned]]:
    """The cards by the image that they share, in order."""
    found: dict[str, list[Planned]] = {}
    for planned in prepared.planned:
        found.setdefault(planned.plan.job.image.name, []).append(planned)
    if "" in found:
        names = ", ".join(planned.card.name for planned in found.pop(""))
        raise UsageError(f"madrun build: found {names} with runtime process, which uses no image; leave it out")
    return list(found.values())


def _work(request: Request, prepared: Prepared, sharing: list[Planned]) -> Iterator[Work]:
    """The image itself, or one for each GPU architecture that is asked for."""
    image = sharing[0].plan.job.image
    policy = prepared.images
    registries = registries_of(request.building.batch_manifest)
    names = [name for planned in sharing for name in (planned.card.name, *planned.card.tags)]
    if own := next((registries[name] for name in names if name in registries), ""):
        policy = replace(policy, registry=own)
    words = [word.strip() for text in request.building.target_archs or () for word in text.split(",")]
    for word in words:
        if not word.replace("-", "").replace("_", "").isalnum() or not word.isascii():
            raise UsageError(f"--target-archs: found {word!r}, allowed: names of architectures, such as gfx942,gfx90a")
    if words and image.kind == "build":
        for word in dict.fromkeys(words):
            yield Work(for_architecture(image, sharing[0].card, word), tuple(sharing), policy, word)
    else:
        yield Work(image, tuple(sharing), policy)


def _build_all(request: Request, prepared: Prepared, work: list[Work], screen: Screen) -> list[Row]:
    """A row for each image in the order asked for; a few are made at a time, and Ctrl-C ends them."""
    stop = images.Stop()
    pool = ThreadPoolExecutor(max_workers=AT_A_TIME)
    several = len(work) > 1
    futures = [pool.submit(_build, request, prepared, one, (screen, stop, several)) for one in work]
    try:
        wait(futures)
        return [future.result() for future in futures]
    finally:
        stop.set()
        end(pool, futures)


def _build(request: Request, prepared: Prepared, work: Work, telling: tuple[Screen, images.Stop, bool]) -> Row:
    screen, stop, several = telling
    first, image = work.sharing[0], work.image
    secrets = first.secrets
    cards = tuple(dict.fromkeys(planned.card.name for planned in work.sharing))
    row = Row(image=image.name, cards=cards, how="failed", tag=image.tag, registry_image=work.policy.reference(image))
    place = image_place(prepared.engine, prepared.facts.engine, user_folder("cache") / "locks", work.policy)
    log = log_of(request.results, image.file_name)

    def show(line: str) -> None:
        screen.line(f"[{image.name}] {line}" if several else line)

    watch = images.Watch(log=log.write, show=show, secrets=secrets, stop=stop)
    try:
        filled_in = replace(image, build_args=filled(image.build_args, secrets))
        made = images.ensure(place, filled_in, first.image_context, watch)
    except BuildError as error:
        (text,) = without_secrets((str(error),), secrets)
        if not stop.is_set:
            screen.say(f"error: {text}")
        return replace(row, error=text, log=log.shown)
    except OSError as error:
        raise _unwritable(log.path, error) from None
    finally:
        log.close()
    return replace(row, how=made.how, identity=made.identity, id=made.id, seconds=round(made.seconds, 3), log=log.shown)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"--results: {path} cannot be written: {error.strerror}; name another directory")


def _write_files(request: Request, prepared: Prepared, work: list[Work], found: tuple[list[Row], list[Row]]) -> None:
    """The build manifest and the summary, where asked for. `found`: rows without an image, and those of `work`."""
    without, rows = found
    failed = [card for row in (*without, *rows) if row.error for card in row.cards]
    if request.building.manifest_output is not None:
        from madrun.cli.manifestout import ImageOfCard, write_manifest

        made = [
            ImageOfCard(
                planned=planned, image=one.image, seconds=row.seconds, log=row.log, registry_image=row.registry_image
            )
            for one, row in zip(work, rows, strict=True)
            for planned in one.sharing
            if not row.error
        ]
        write_manifest(request.building.manifest_output, prepared, made, failed)
    if request.building.summary_output is not None:
        path = Path(request.building.summary_output).expanduser()
        built = [card for row in rows if not row.error for card in row.cards]
        every = [to_plain(row) for row in (*without, *rows)]
        summary = {"successful_builds": built, "failed_builds": failed, "images": every}
        try:
            write_atomically(path, to_json(summary))
        except OSError as error:
            raise UsageError(f"--summary-output: {path} could not be written: {error.strerror}") from None


def _lines(rows: list[Row]) -> list[str]:
    width = max((len(row.image) for row in rows), default=1)
    return [
        f"{row.image or '-':<{width}}  {row.how:<6}  {format_duration(row.seconds):>7}  {row.identity or '-'}  "
        f"({some(row.cards, _SHOWN)})" + (f"  log {row.log}" if row.log else "")
        for row in rows
    ]
