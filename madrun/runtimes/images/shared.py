"""An image as a tar in a directory that all nodes see: one node that has it saves it there, the others load it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from madrun.errors import BuildError, DataError
from madrun.runtimes.images.failures import disk_hint, is_disk_full
from madrun.runtimes.images.imagetar import SHARED, Tar, broken, is_directory, named_in, no_directory, of_image
from madrun.runtimes.images.place import Claimed, Place
from madrun.runtimes.images.watch import Watch, engine_errors, stoppable
from madrun.units import format_size

PATIENCE_S = 90.0  # NFS may show what is new in a directory up to a minute later
_LOOK_EVERY_S, _NEWS_EVERY_S, _CONTACT_S, _CHUNK = 0.2, 30.0, 60, 1 << 20


def provide(place: Place, folder: Path, name: str, found: Mapping[str, Any], watch: Watch) -> None:
    """The directory has the image that lies here when this returns, saved by this process or another one."""
    tar = of_image(folder, name)
    attempt = place.claims(tar.file) if place.claims else None
    while not tar.is_there():
        _go_on(name, watch)
        if attempt is None:
            raise BuildError(f"image {name}: {SHARED}: this command cannot save images")
        try:
            claim, holder = attempt()
        except OSError as error:
            raise _unwritable(tar, error) from None
        if claim is None:
            if holder and not tar.is_there():
                watch.detail(f"{name}: {holder} saves it to {tar.file}")
            time.sleep(_LOOK_EVERY_S)
            continue
        try:
            if not tar.is_there():
                _save(place.client, tar, str(found["Id"]), claim, watch)
        except DataError:
            watch.line(f"{name}: this process stood still, and another saves the image now")
        finally:
            claim.release()
    held = tar.held()
    if held != found["Id"]:
        raise BuildError(
            f"image {name}: {found['Id']} on this host, {held} in {tar.file}; remove {tar.file} (the image of this "
            f"host is then saved there), or remove the image here (docker rmi {name}), which is then loaded from there"
        )


def obtain(place: Place, folder: Path, name: str, watch: Watch) -> None:
    """The engine has the image of the directory when this returns; waits a while for a node that saves it."""
    tar = of_image(folder, name)
    _await(tar, watch)
    _load(place.client, tar, tar.checked(), watch)


def _await(tar: Tar, watch: Watch) -> None:
    seen, since, told = "", time.monotonic(), float("-inf")
    while not tar.is_there():
        _go_on(tar.name, watch)
        signs = tar.signs()
        if signs != seen:
            seen, since = signs, time.monotonic()
        if time.monotonic() - since > PATIENCE_S:
            raise BuildError(
                f"image {tar.name}: not on this host, and for {PATIENCE_S:g} s no node has begun to save it as "
                f"{tar.file} ({SHARED}); build or pull it on one node, or give its registry_image in the manifest"
            )
        if time.monotonic() - told > _NEWS_EVERY_S:
            told = time.monotonic()
            state = "a node is saving it" if seen else "a node that has the image saves it there"
            watch.line(f"{tar.name}: not on this host: waiting for {tar.file}: {state}")
        time.sleep(_LOOK_EVERY_S)


def _save(client: Any, tar: Tar, identity: str, claim: Claimed, watch: Watch) -> None:
    """Writes the tar under a hidden name, and shows it when it is whole; what says which image it is comes first."""
    part = tar.hidden(f"part-{claim.number}")
    watch.line(f"saving {tar.name} to {tar.file}")
    try:
        claim.confirm()
        for rest in tar.parts():  # of processes that have ended: this one has the claim now
            rest.unlink(missing_ok=True)
        _write(client, tar.name, part, claim, watch)
        if tar.name not in named_in(part, tar.name):
            raise BuildError(f"image {tar.name}: the engine saves it without this name; docker_image must be NAME:TAG")
        if str(client.inspect_image(tar.name)["Id"]) != identity:
            raise BuildError(f"image {tar.name}: it became another image while it was saved; start again")
        size = part.stat().st_size
        claim.confirm()
        tar.show(part, identity, size)
    except engine_errors() as error:
        _go_on(tar.name, watch)
        said = str(getattr(error, "explanation", None) or error)
        raise BuildError(f"image {tar.name}: could not be saved to {tar.file}: the engine says: {said}") from None
    except OSError as error:
        raise _unwritable(tar, error) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    watch.line(f"saved {tar.name} to {tar.file}: {format_size(size)}")


def _write(client: Any, name: str, part: Path, claim: Claimed, watch: Watch) -> None:
    with stoppable(client, watch.stop), part.open("xb") as file:
        for chunk in _saved_by(client, name):
            _go_on(name, watch)
            claim.check()
            file.write(chunk)
            claim.done += len(chunk)
        _go_on(name, watch)
        file.flush()
        os.fsync(file.fileno())


def _saved_by(client: Any, name: str) -> Iterator[bytes]:
    """The tar as the engine writes it. Engines put large images on their own disk first, and are silent meanwhile."""
    from urllib.parse import quote

    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    url = f"{client.base_url}/v{client.api_version}/images/{quote(name, safe='/:')}/get"
    with client.get(url, stream=True, timeout=(_CONTACT_S, None)) as answer:
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        yield from answer.iter_content(_CHUNK)


def _load(client: Any, tar: Tar, identity: str, watch: Watch) -> None:
    watch.line(f"loading {tar.name} from {tar.file}")
    said = ""
    try:
        with stoppable(client, watch.stop):
            for event in client.load_image(_chunks(tar, watch)) or ():
                said = said or str(event.get("error") or "")
        _go_on(tar.name, watch)
        loaded = "" if said else _id_of(client, tar.name)
    except engine_errors() as error:
        _go_on(tar.name, watch)
        said = said or str(getattr(error, "explanation", None) or error)
    if said:
        more = f"\n{disk_hint(client)}" if is_disk_full(said) else ""
        raise broken(tar, f"the engine cannot load it: {said}{more}")
    if loaded != identity:
        with suppress(*engine_errors()):
            client.remove_image(tar.name)  # the next command would take it for the right one
        raise broken(tar, f"it holds {loaded or 'no image of this name'}, and {tar.notice.name} says {identity}")
    watch.line(f"loaded {tar.name} from {tar.file}: {identity}")


def _chunks(tar: Tar, watch: Watch) -> Iterator[bytes]:
    with tar.file.open("rb") as file:
        while chunk := file.read(_CHUNK):
            _go_on(tar.name, watch)
            yield chunk


def _id_of(client: Any, name: str) -> str:
    from docker.errors import ImageNotFound

    try:
        return str(client.inspect_image(name)["Id"])
    except ImageNotFound:
        return ""


def _go_on(name: str, watch: Watch) -> None:
    if watch.stop.is_set:
        raise BuildError(f"image {name}: {SHARED}: not waited for: the command has ended")


def _unwritable(tar: Tar, error: OSError) -> BuildError:
    if not is_directory(tar.file.parent):
        return no_directory(tar.file.parent)
    return BuildError(
        f"image {tar.name}: {SHARED}: {tar.file.parent}: nothing can be written there: {error.strerror or error}; "
        "allowed: a directory that this user may write to, with space for the image"
    )
