"""A mirror: the data fetched once to DIR/<name>, visible only when they are whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from madrun.data import manifest
from madrun.data.claim import Claim, Holder, Lost, Queue
from madrun.data.manifest import Manifest
from madrun.data.providers import PROVIDERS
from madrun.data.work import NEWS_EVERY_S, Means, Progress, Unreachable
from madrun.errors import DataError
from madrun.spec.data import Fetch
from madrun.units import format_duration, format_size

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What lies at the target now; `seconds` is what this call fetched for, 0 where it was there or another did it."""

    provider: str = ""
    bytes: int | None = None
    seconds: float = 0.0
    made: bool = False
    notes: tuple[str, ...] = ()


def fill(target: Path, fetches: tuple[Fetch, ...], means: Means) -> Filled:
    """Returns when the target is there and whole; made by this call, or by whoever else has the claim to make it.

    The copy grows in a hidden directory `.NAME.part-N` beside the target, which stays where the copy breaks off: the
    next to come goes on with it. The directory of the target is never created.
    """
    queue, patience = Queue(target), _Patience(target, means)
    while not os.path.lexists(target):
        means.check()
        try:
            got = queue.attempt()
        except OSError as error:
            raise DataError(f"{target}: nothing can be written beside it: {error.strerror or error}") from None
        if not isinstance(got, Claim):
            patience.wait(got)
            continue
        try:
            if not os.path.lexists(target):
                return _make(target, fetches, means, got)
        except Lost:
            means.tell(f"this process stood still, and another fetches {target} now")
        finally:
            got.release()
    return found(target, fetches)


def found(target: Path, fetches: tuple[Fetch, ...]) -> Filled:
    """What lies there; `DataError` where it is not what was fetched once, as after a full disk or a stray hand."""
    known = manifest.read(target)
    if known is None:
        return Filled(notes=(f"{target} was there before and has no manifest: it is used as it is",))
    wrong = manifest.check(target, known.files)
    if wrong:
        raise DataError(
            f"{target} is not what was fetched from {known.provider} {known.place}: {wrong}; "
            f"remove {target} and start again, which fetches it anew"
        )
    notes: tuple[str, ...] = ()
    if fetches and (known.provider, known.place) not in {(fetch.provider, fetch.place) for fetch in fetches}:
        wanted = " or ".join(f"{fetch.provider} {fetch.place}" for fetch in fetches)
        notes = (f"{target} was fetched from {known.provider} {known.place}, not from {wanted}; it is used as it is",)
    return Filled(provider=known.provider, bytes=known.bytes, notes=notes)


def _make(target: Path, fetches: tuple[Fetch, ...], means: Means, claim: Claim) -> Filled:
    """By the first provider that can be had; `DataError` with the reason of each where none can."""
    state = _inherited(target, claim)

    def claimed(done: int) -> None:
        claim.done = done
        claim.check()

    tried: list[str] = []
    for fetch in fetches:
        progress = Progress(target.name, state, means, claimed)
        try:
            made = _fetch(fetch, progress)
            claim.confirm()
            _reveal(target, progress.data, made)
        except Unreachable as error:
            tried.append(f"{fetch.provider}: {error}")
            continue
        except (DataError, OSError) as error:
            with suppress(OSError):
                claim.confirm()  # where it is lost, that is why: the directory has another name now
            said = _system(error, progress) if isinstance(error, OSError) else str(error)
            raise DataError(f"{target} from {fetch.provider} {fetch.place}: {said}{_rest(state)}") from None
        shutil.rmtree(state, ignore_errors=True)
        notes = tuple(f"{target.name}: not fetched from {reason}" for reason in tried)
        return Filled(provider=fetch.provider, bytes=made.bytes, seconds=made.seconds, made=True, notes=notes)
    if not _rest(state):
        shutil.rmtree(state, ignore_errors=True)
    raise DataError(f"{target}: no provider of it can be had: {'; '.join(tried) or 'none can be had from this host'}")


def _fetch(fetch: Fetch, progress: Progress) -> Manifest:
    """Everything, whole and checked, but not yet where it belongs."""
    provider = PROVIDERS[fetch.provider]
    progress.limit_s = provider.LIMIT_S
    _same_source(progress.state, fetch)
    files = provider.fetch(fetch, progress)
    progress.limit_s = float("inf")
    manifest.demand(progress.data, files, progress.alive)
    size = sum(expected.size for expected in files.values())
    seconds = round(progress.seconds, 3)
    return Manifest(provider=fetch.provider, place=fetch.place, bytes=size, seconds=seconds, files=files)


def _inherited(target: Path, claim: Claim) -> Path:
    """The directory of this claim, with what an earlier one had come to: its writer, if it lives, finds it gone."""
    state = target.with_name(f".{target.name}.part-{claim.number}")
    try:
        for part in parts_of(target):
            if not state.exists():
                claim.confirm()  # the part may belong to whoever has taken the claim over
                part.rename(state)
        state.mkdir(exist_ok=True)
    except OSError as error:
        place = error.filename or state
        raise DataError(f"{target}: what an earlier copy left cannot be used: {place}: {error.strerror}") from None
    return state


def parts_of(target: Path) -> list[Path]:
    """The directories in which copies to the target have grown; more than one only after a claim was taken over."""
    start = f".{target.name}.part-"
    names = [path.name for path in target.parent.iterdir() if path.name.startswith(start)]
    return [target.with_name(name) for name in sorted(names) if name.removeprefix(start).isdecimal()]


def _same_source(state: Path, fetch: Fetch) -> None:
    """Empties the directory where what lies in it was fetched from elsewhere."""
    said, file = json.dumps(asdict(fetch)), state / "source"
    if file.exists() and file.read_text(encoding="utf-8", errors="replace") == said:
        return
    for entry in state.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    file.write_text(said, encoding="utf-8")


def _reveal(target: Path, data: Path, made: Manifest) -> None:
    """The manifest first: what can be seen has one."""
    manifest.write(target, made)
    try:
        data.rename(target)
    except OSError:
        if not os.path.lexists(target):
            raise


def _system(error: OSError, progress: Progress) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{place} after {progress.so_far}"


def _rest(state: Path) -> str:
    """What is left for the next run, in words; empty where there is nothing."""
    size = 0
    with suppress(OSError):
        size = sum(expected.size for expected in manifest.sizes(state / "data").values())
    return f"; {format_size(size)} are kept in {state} for the next run, which goes on from there" if size else ""


class _Patience:
    """Waits while another process has the claim, and says so now and then."""

    def __init__(self, target: Path, means: Means) -> None:
        self._target, self._means = target, means
        self._began = time.monotonic()
        self._next = 0.5  # what takes less is not worth a line

    def wait(self, holder: Holder | None) -> None:
        waited = time.monotonic() - self._began
        if holder is not None and waited > self._next:
            self._next = waited + NEWS_EVERY_S
            self._means.tell(
                f"waiting for process {holder.pid} on {holder.host}, which fetches {self._target} "
                f"({format_size(holder.done)} so far; waited {format_duration(waited)})"
            )
        time.sleep(_LOOK_EVERY_S)
