"""The image of a job: a ready one, or what it is built from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from madrun.errors import CardError
from madrun.spec import dockerfile
from madrun.spec.card import Card, ImageSource
from madrun.spec.codec import sha256
from madrun.spec.context import Context, is_secret
from madrun.spec.facts import HostFacts
from madrun.spec.plan import SECRET, ImagePlan

if TYPE_CHECKING:
    from madrun.planning.job import CardFacts

BASE_ARG = "BASE_DOCKER"
ARCHITECTURE = "MAD_SYSTEM_GPU_ARCHITECTURE"
_NO_TAG = re.compile(r"[^a-z0-9_.-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the host adds to a build where the Dockerfile asks for it: its GPU's architecture, secrets by name."""

    architecture: str = ""
    secrets: frozenset[str] = frozenset()

    @classmethod
    def of(cls, facts: HostFacts, secrets: frozenset[str]) -> Given:
        """As MAD names the architecture: gfx942 of an AMD GPU, the product of an NVIDIA one."""
        found = facts.accelerator
        return cls(architecture=found.model if found.vendor == "nvidia" else found.arch, secrets=secrets)


def image_source(card: Card, vendor: str) -> ImageSource:
    """The card's image for the accelerator; `CardError` says which accelerators it has images for."""
    if vendor in card.images:
        return card.images[vendor]
    have = ", ".join(sorted(card.images)) or "none"
    raise CardError(
        f"{card.source}: images: none for {vendor}, the accelerator of this host; the card has: {have}. "
        "Name a ready image with MAD_CONTAINER_IMAGE in the context, or add one to the card"
    )


def plan_image(card: Card, context: Context, vendor: str, files: CardFacts, given: Given | None = None) -> ImagePlan:
    """What the image is; a recipe hashes Dockerfile, build context, arguments and the name of the base.

    Secret arguments are there by name: whoever builds puts their values in the place of `{secret}`.
    """
    if context.MAD_CONTAINER_IMAGE:
        return ImagePlan(kind="ready", name=context.MAD_CONTAINER_IMAGE)
    source = image_source(card, vendor)
    if source.image:
        return ImagePlan(kind="ready", name=source.image, pull_from=source.pull_from or "", base=source.base or "")
    given = given or Given()
    args = _arguments(card, source, context, files.dockerfile_text, given)
    recipe = sha256([files.dockerfile_text, files.context_hash, args])
    try:
        bases = dockerfile.bases(files.dockerfile_text, args)
    except dockerfile.UnsetArgument as unset:
        raise CardError(f"{files.dockerfile}: {unset}; give it with base or args, or docker_build_arg") from None
    folder, _, file_name = files.dockerfile.rpartition("/")
    stem = (folder if file_name == "Dockerfile" else file_name.removesuffix(".Dockerfile")).rpartition("/")[2]
    asked = dockerfile.secret_mounts(files.dockerfile_text) & given.secrets
    return ImagePlan(
        kind="build",
        name=f"madrun/{_image_word(stem)}:{recipe[:12]}",
        recipe=recipe,
        dockerfile=_place(files.dockerfile, files.context),
        context=files.context,
        path=files.dockerfile,
        build_args=args,
        secrets=tuple(sorted(asked)),
        base=next(iter(bases), ""),
        tag=mad_tag(card, files.dockerfile) if card.mad else "",
    )


def mad_tag(card: Card, path: str, more: str = "") -> str:
    """The name that MAD gives the image of a card and a Dockerfile: `ci-<card>_<file>`, in lower case."""
    file = path.rpartition("/")[2].removesuffix(".Dockerfile")
    text = f"ci-{card.name}_{file}{f'_{more}' if more else ''}".lower().replace("/", "_")
    return re.sub(r"[._-]*_[._-]*", "_", _NO_TAG.sub("_", text)).strip("._-")


def for_architecture(image: ImagePlan, card: Card, architecture: str) -> ImagePlan:
    """The same recipe for a GPU that this host need not have; its name and MAD's tag end with it."""
    args = {**image.build_args, ARCHITECTURE: architecture}
    recipe = sha256([image.recipe, args])
    name = f"{image.name.rpartition(':')[0]}_{architecture.lower()}:{recipe[:12]}"
    tag = mad_tag(card, image.dockerfile, architecture) if image.tag else ""
    return replace(image, name=name, recipe=recipe, build_args=args, tag=tag)


def secrets_in_history(card: Card, image: ImagePlan, text: str) -> tuple[str, ...]:
    """Notes on secrets that the Dockerfile takes as arguments, which `docker history` shows to who has the image."""
    names = [name for name, value in image.build_args.items() if value == SECRET and name in dockerfile.arguments(text)]
    return tuple(
        f"{card.name}: {image.source}: ARG {name} leaves the secret in the history of the image; "
        f"RUN --mount=type=secret,id={name} does not"
        for name in names
    )


def _arguments(card: Card, source: ImageSource, context: Context, text: str, given: Given) -> dict[str, str]:
    """Build arguments by name. What the host gives is there only where the Dockerfile declares it."""
    declared = dockerfile.arguments(text) if card.mad else frozenset()
    host = {ARCHITECTURE: given.architecture} if given.architecture and ARCHITECTURE in declared else {}
    host |= dict.fromkeys(sorted(declared & given.secrets), SECRET)
    args = {BASE_ARG: source.base} if source.base else {}
    said = {**host, **source.args, **context.docker_build_arg}
    # By name alone: the plan is written down and its hash is shown, and a new token makes no other image.
    return args | {name: SECRET if is_secret(name) or name in given.secrets else value for name, value in said.items()}


def _place(path: str, context: str) -> str:
    """Where the builder finds the Dockerfile: below the context, or at its root where it lies outside."""
    if context == ".":
        return path
    return path.removeprefix(f"{context}/") if path.startswith(f"{context}/") else path.rpartition("/")[2]


def _image_word(text: str) -> str:
    """The text as part of an image's name: lower case, other characters as dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "image"
