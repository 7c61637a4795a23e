"""Images of the plan: found, pulled or built, and known by an identity that two nodes can compare."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import BuildError
from madrun.locks import locked
from madrun.spec.codec import sha256
from madrun.spec.plan import ImagePlan

RECIPE, IDENTITY, BASE = "madrun.recipe", "madrun.identity", "madrun.base"
_LAST_LINES = 30
Line = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that lies on this host. `identity` is equal on two nodes if what runs is equal."""

    id: str
    identity: str
    seconds: float
    how: str


def ensure(client: Any, image: ImagePlan, context: dict[str, Path], lock_dir: Path, say: Line) -> Prepared:
    """The image, pulled or built where this host lacks it; `say` gets the engine's lines. Raises `BuildError`."""
    started = time.monotonic()
    found, how = _up_to_date(client, image), "found"
    if found is None:
        with locked(lock_dir / (image.name.replace("/", "_").replace(":", "_") + ".lock")):
            found = _up_to_date(client, image)  # another run may have made it meanwhile
            if found is None and image.kind == "ready":
                found, how = _pull(client, image.name, say), "pulled"
            elif found is None:
                base = _inspect(client, image.base) if image.base else None
                found, how = _build(client, image, base, context, say), "built"
    return Prepared(str(found["Id"]), identity_of(found), time.monotonic() - started, how)


def identity_of(inspected: dict[str, Any]) -> str:
    """Registry digest, else the identity that a recipe left as a label, else the image's id."""
    digests = inspected.get("RepoDigests") or []
    labels = (inspected.get("Config") or {}).get("Labels") or {}
    if digests:
        return str(digests[0]).partition("@")[2]
    return str(labels.get(IDENTITY) or inspected["Id"])


def _up_to_date(client: Any, image: ImagePlan) -> dict[str, Any] | None:
    """The image as it lies here; None where it is missing, or was built on another base than lies here now."""
    found = _inspect(client, image.name)
    if found is None or image.kind == "ready" or not image.base:
        return found
    base = _inspect(client, image.base)
    built_on = (found["Config"].get("Labels") or {}).get(BASE)
    return found if base is None or built_on == base["Id"] else None


def _inspect(client: Any, name: str) -> dict[str, Any] | None:
    from docker.errors import APIError, ImageNotFound

    try:
        found: dict[str, Any] = client.inspect_image(name)
        return found
    except ImageNotFound:
        return None
    except APIError as error:
        raise BuildError(f"image {name}: the engine says: {error.explanation or error}") from None


def _pull(client: Any, name: str, say: Line) -> dict[str, Any]:
    from docker.errors import APIError

    say(f"pulling {name}")
    reference, tag = _split_reference(name)
    try:
        for event in client.pull(reference, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise BuildError(_pull_failed(name, event["error"]))
            if event.get("status") and "progress" not in event:
                say(f"{event.get('id', '')} {event['status']}".strip())
    except APIError as error:
        raise BuildError(_pull_failed(name, str(error.explanation or error))) from None
    found = _inspect(client, name)
    if found is None:
        raise BuildError(f"image {name}: pulled, but the engine does not have it")
    return found


def _split_reference(name: str) -> tuple[str, str | None]:
    if "@" in name:
        return name, None
    head, _, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{head}/{repository}" if head else repository, tag or "latest"


def _pull_failed(name: str, text: str) -> str:
    return (
        f"image {name}: not on this host, and it could not be pulled: {text.strip()}\n"
        "check the name, log in to its registry, or name another image with MAD_CONTAINER_IMAGE"
    )


def _build(
    client: Any, image: ImagePlan, base: dict[str, Any] | None, context: dict[str, Path], say: Line
) -> dict[str, Any]:
    from docker.errors import APIError

    say(f"building {image.name} from {image.context}/{image.dockerfile}")
    base_identity = identity_of(base) if base else image.base
    labels = {RECIPE: image.recipe, IDENTITY: f"recipe:{sha256([image.recipe, base_identity])}"}
    labels |= {BASE: str(base["Id"])} if base else {}
    lines: list[str] = []
    try:
        for event in client.build(
            fileobj=_tar(context),
            custom_context=True,
            dockerfile=image.dockerfile,
            buildargs=image.build_args,
            tag=image.name,
            labels=labels,
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        ):
            for line in str(event.get("stream") or event.get("error") or "").splitlines():
                lines.append(line)
                say(line)
            if "error" in event:
                raise BuildError(_build_failed(image, lines))
    except APIError as error:
        raise BuildError(_build_failed(image, [*lines, str(error.explanation or error)])) from None
    found = _inspect(client, image.name)
    if found is None:
        raise BuildError(_build_failed(image, lines))
    if base is None and image.base and (pulled := _inspect(client, image.base)):
        # The builder pulled the base meanwhile: build again from its cache, now labelled with the base's id.
        return _build(client, image, pulled, context, say)
    return found


def _build_failed(image: ImagePlan, lines: list[str]) -> str:
    last = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
    return (
        f"image {image.name}: the build of {image.context}/{image.dockerfile} failed (base {image.base or 'none'}):\n"
        f"{last}\nanother base is named with docker_build_arg: {{'BASE_DOCKER': 'NAME'}} in the context or site file"
    )


def _tar(files: dict[str, Path]) -> io.BytesIO:
    """The build context with owners and times left out, so that the builder's cache sees equal files as equal."""
    import tarfile

    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, path in files.items():
            info = archive.gettarinfo(str(path), arcname=name)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            with path.open("rb") as content:
                archive.addfile(info, content)
    target.seek(0)
    return target
