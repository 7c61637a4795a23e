"""What an engine says when a build or pull fails, with what to do next."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from madrun.errors import BuildError
from madrun.spec.dockerfile import directives, secret_mounts
from madrun.spec.plan import ImagePlan

_LAST_LINES = 30
_DISK = ("no space left on device", "disk quota exceeded")
_PULL_HINTS = {
    "no matching manifest": "the registry has it for other architectures only; name an image for this host's",
    "manifest unknown": "the repository has no such tag or digest; check the part after the name",
    "manifest for": "the repository has no such tag or digest; check the part after the name",
    "name unknown": "the registry has no such repository; check the name",
    "repository does not exist": "check the name; where it is private, log in: docker login REGISTRY",
    "unauthorized": "the registry wants other credentials: docker login REGISTRY, as the user who runs madrun",
    "authentication required": "the registry wants credentials: docker login REGISTRY, as the user who runs madrun",
    "no basic auth credentials": "the registry wants credentials: docker login REGISTRY, as the user who runs madrun",
    "denied": "these credentials may not read it; docker login REGISTRY as somebody who may",
    "no such host": "the registry's name has no address here; check it, and this host's DNS and proxy",
    "connection refused": "nothing answers at the registry's address; check address and port",
    "server gave HTTP response to HTTPS client": "it speaks HTTP: allow that in insecure-registries or registries.conf",
    "certificate": "the engine does not trust its certificate: put the CA into /etc/docker/certs.d/REGISTRY",
    "timeout": "the registry did not answer in time; check network and proxy of the engine",
    "toomanyrequests": "the registry's rate limit: docker login raises it, or pull from a mirror",
}


def pull_failed(client: Any, name: str, text: str, here: bool = False) -> BuildError:
    """The error of a pull; `text` is what the engine said, `here` whether the image lies here and is pulled anew."""
    text = text.strip()
    if is_disk_full(text):
        return BuildError(f"image {name}: the pull failed: {text}\n{disk_hint(client)}")
    hint = next((hint for sign, hint in _PULL_HINTS.items() if sign.lower() in text.lower()), "check the name")
    first = name.partition("/")[0]
    registry = first if "/" in name and ("." in first or ":" in first or first == "localhost") else ""
    return BuildError(
        f"image {name}: {'--pull was given' if here else 'not on this host'}, and it could not be pulled: {text}\n"
        f"{hint.replace(' REGISTRY', f' {registry}'.rstrip()).replace('/REGISTRY', f'/{registry}')}; "
        "or name another image with MAD_CONTAINER_IMAGE"
    )


_MISSING = ("manifest unknown", "manifest for ", ": not found", "name unknown", "repository does not exist")


def is_missing(text: str) -> bool:
    """Whether the words of a registry say that it lacks the image, and not that it cannot be asked."""
    return any(sign in text.lower() for sign in _MISSING)


_PUSH_HINTS = {
    "unauthorized": "the registry wants other credentials",
    "authentication required": "the registry wants credentials",
    "no basic auth credentials": "the registry wants credentials",
    "denied": "these credentials may not write there",
    "no such host": "the registry's name has no address here; check it, and this host's DNS and proxy",
    "connection refused": "nothing answers at the registry's address; check address and port",
    "server gave HTTP response to HTTPS client": "it speaks HTTP: allow that in insecure-registries or registries.conf",
    "certificate": "the engine does not trust its certificate: put the CA into /etc/docker/certs.d/REGISTRY",
    "timeout": "the registry did not answer in time; check network and proxy of the engine",
}


def push_failed(client: Any, name: str, text: str) -> BuildError:
    """The error of a push; `text` is what the engine said."""
    text = text.strip()
    if is_disk_full(text):
        return BuildError(f"image {name}: the push failed: {text}\n{disk_hint(client)}")
    hint = next((hint for sign, hint in _PUSH_HINTS.items() if sign.lower() in text.lower()), "check the name")
    if "credentials" in hint:
        hint += (
            "; give them in credential.json under the registry's name, or dockerhub (username, password), or log in: "
            f"docker login {name.partition('/')[0]}"
        )
    return BuildError(
        f"image {name}: it was built, and could not be pushed: {text or 'the registry gave no reason'}\n{hint}; "
        "without --registry it stays on this host"
    )


def build_failed(client: Any, image: ImagePlan, dockerfile: str, lines: list[str]) -> BuildError:
    """The error of a build with the last lines of its log; `dockerfile` is the text."""
    last = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
    hints = [disk_hint(client)] if is_disk_full(last) else []
    missing = sorted(secret_mounts(dockerfile) - set(image.secrets))
    if missing:
        hints.append(
            f"it mounts the secrets {', '.join(missing)}, which this host does not have: set variables of these names "
            "(MAD_SECRETS...), or name the entry of credential.json as the card's cred"
        )
    syntax = directives(dockerfile).get("syntax", "")
    if syntax and syntax in last and not hints:
        hints.append(f"its line syntax={syntax} makes BuildKit fetch that from a registry; remove it or mirror it")
    elif not hints:
        hints.append("another base is named with docker_build_arg: {'BASE_DOCKER': 'NAME'} in the context or site file")
    return BuildError(
        f"image {image.name}: the build of {image.source} failed (base {image.base or 'none'}):\n"
        + "\n".join([last, *hints])
    )


def needs_buildkit(image: ImagePlan, what: tuple[str, ...]) -> BuildError:
    """The error of a Dockerfile that only BuildKit can build, where it is not."""
    return BuildError(
        f"image {image.name}: {image.source} needs BuildKit ({'; '.join(what)}), and there is no "
        "docker client here that can use it: found none on PATH with buildx or with BuildKit of its own, or "
        "DOCKER_BUILDKIT=0; install the buildx plugin (package docker-buildx or docker-buildx-plugin)"
    )


def is_disk_full(text: str) -> bool:
    """Whether the engine's words say that a disk is full."""
    return any(sign in text.lower() for sign in _DISK)


def disk_hint(client: Any) -> str:
    """Which disk is full, and what frees it."""
    root = ""
    with suppress(Exception):  # the first error is the one to show
        root = str(client.info().get("DockerRootDir") or "")
    return (
        f"the disk of the engine's storage is full: {root or 'see docker info, Docker Root Dir'} on the engine's host; "
        "docker system df shows what takes the space, docker system prune and docker builder prune free what is unused "
        "(a RUN that fills a mounted tmpfs says the same)"
    )
