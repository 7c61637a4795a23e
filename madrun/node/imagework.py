"""The image of a run on this node: fetched or built while the run is watched, and held against the host's driver."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from madrun.errors import EngineError
from madrun.node.imageplace import image_place
from madrun.node.task import MadeAhead, Reporter, Task
from madrun.planning.fit import misfit, rocm_note
from madrun.planning.repeat import image_change
from madrun.runtimes import images
from madrun.spec.plan import filled

_PATIENCE_S = 0.1


def obtain(task: Task, log: Path, check: Callable[[], None], reporter: Reporter) -> images.Prepared:
    """The image; what `check` raises does not wait for it, and ends what is under way for it.

    Raises `BuildError` where it cannot be had, `EngineError` where this host's driver is too old for it.
    """
    made = task.ahead(task.plan.job.image.name)
    if made is not None:
        prepared = _from_before(made, log, check)
    else:
        prepared = _patiently(task, _watch(task, log, reporter), check)
    env = {**prepared.env, **task.plan.job.env}
    problem = misfit(task.facts.accelerator, task.plan.job.image.name, env)
    if problem:
        raise EngineError(problem)
    return prepared


def image_notes(task: Task, prepared: images.Prepared) -> tuple[str, ...]:
    """What the record is to say of the image: another one than in the run that is repeated; far from the driver."""
    moved = image_change(task.image_then, prepared.identity, prepared.id)
    changed = f"changed since: {moved}" if moved else ""
    found = (changed, rocm_note(task.facts.accelerator, task.plan.job.image.name, prepared.env))
    return tuple(note for note in found if note and note not in task.notes)


def _from_before(made: MadeAhead, log: Path, check: Callable[[], None]) -> images.Prepared:
    """The image that is being made beside the runs before this one; its log becomes the run's own."""
    try:
        while True:
            check()
            if made.future in wait((made.future,), timeout=_PATIENCE_S).done:
                return made.future.result()
    finally:
        if made.log.is_file() and made.future.done():
            log.write_text(made.log.read_text(encoding="utf-8"), encoding="utf-8")


def _patiently(task: Task, watch: images.Watch, check: Callable[[], None]) -> images.Prepared:
    pool = ThreadPoolExecutor(max_workers=1)
    image = task.plan.job.image
    image = replace(image, build_args=filled(image.build_args, task.secrets))
    place = image_place(task.engine, task.facts.engine, task.lock_dir, task.images)
    future = pool.submit(images.ensure, place, image, task.image_context, watch)
    pool.shutdown(wait=False)
    try:
        while True:
            check()
            if future in wait((future,), timeout=_PATIENCE_S).done:
                return future.result()
    finally:
        watch.stop.set()


def _watch(task: Task, log: Path, reporter: Reporter) -> images.Watch:
    def keep(line: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return images.Watch(log=keep, show=reporter.line, secrets=task.secrets)
