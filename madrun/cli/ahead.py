"""The images of the next cards, made while the first card runs: a few at a time, by the same locks as ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from madrun.cli.buildlog import BuildLog, log_of
from madrun.cli.prepare import Planned, Prepared
from madrun.cli.screen import Screen
from madrun.errors import BuildError
from madrun.node.task import MadeAhead, Task
from madrun.probe.environment import user_folder
from madrun.runtimes import images
from madrun.spec.plan import filled

AT_A_TIME = 2
_END_S = 3.0


@dataclass(frozen=True, slots=True)
class _Made:
    """When an image was pulled or built beside a run."""

    name: str
    ended: float


class Ahead:
    """The images of all runs but the first. A failure is that of the card's own run, which asks for its image here."""

    def __init__(self, prepared: Prepared, runs: Iterable[Planned], results: Path, screen: Screen) -> None:
        self._prepared, self._results, self._screen = prepared, results, screen
        self._stop = images.Stop()
        self._lock = threading.Lock()
        self._made: list[_Made] = []
        self._futures: dict[str, MadeAhead] = {}
        waiting = _later_images(runs) if prepared.engine is not None else {}
        self._pool = ThreadPoolExecutor(max_workers=AT_A_TIME) if waiting else None
        self._all: list[Future[images.Prepared]] = []
        for name, planned in waiting.items():
            log = log_of(results, planned.plan.job.image.file_name)
            assert self._pool is not None
            future = self._pool.submit(self._make, planned, log)
            self._all.append(future)
            self._futures[name] = MadeAhead(future, log.path)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Ends what is under way."""
        self._stop.set()
        if self._pool is not None:
            end(self._pool, self._all)

    def take(self, name: str) -> MadeAhead | None:
        """The image of this name for the run that asks first; a repetition looks for it as if it were alone."""
        return self._futures.pop(name, None)

    def meanwhile(self, since: float) -> str:
        """The images that were made after this time of the monotonic clock, or still are: the run was not alone."""
        with self._lock:
            done = [made.name for made in self._made if made.ended >= since]
        going = [name for name, ahead in list(self._futures.items()) if ahead.future.running()]
        return ", ".join(dict.fromkeys((*done, *going)))

    def serve(self, task: Task) -> Task:
        """The task with its image from here; its record says what was made while it ran."""
        started = time.monotonic()
        provenance = task.provenance

        def told() -> dict[str, str]:
            names = self.meanwhile(started)
            return provenance() | ({"images_made_meanwhile": names} if names else {})

        return replace(task, ahead=self.take, provenance=told)

    def _make(self, planned: Planned, log: BuildLog) -> images.Prepared:
        from madrun.node.imageplace import image_place

        image, secrets = planned.plan.job.image, planned.secrets
        facts = self._prepared.facts
        place = image_place(self._prepared.engine, facts.engine, user_folder("cache") / "locks", self._prepared.images)
        watch = images.Watch(log=log.write, show=self._show(image.name), secrets=secrets, stop=self._stop)
        try:
            image = replace(image, build_args=filled(image.build_args, secrets))
            made = images.ensure(place, image, planned.image_context, watch)
        except OSError as error:
            raise BuildError(f"image {image.name}: {error.filename or log.path}: {error.strerror}") from None
        finally:
            log.close()
        if made.how != "found":
            with self._lock:
                self._made.append(_Made(image.name, time.monotonic()))
        return made

    def _show(self, name: str) -> images.Line:
        def show(line: str) -> None:
            if not self._stop.is_set:
                self._screen.line(f"[{name}] {line}")

        return show


def end(pool: ThreadPoolExecutor, futures: Iterable[Future[Any]]) -> None:
    """Returns when all that was told to stop has, or after some seconds: an engine that asks a mute registry answers
    nobody. Its request ends with this process.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    wait([future for future in futures if not future.cancelled()], _END_S)


def _later_images(runs: Iterable[Planned]) -> Mapping[str, Planned]:
    """The cards that need an image which no run before them needs, without the first, by its name."""
    found: dict[str, Planned] = {}
    first = ""
    for planned in runs:
        image = planned.plan.job.image
        first = first or image.name
        if planned.plan.job.in_container and image.name != first:
            found.setdefault(image.name, planned)
    return found
