"""What an image is known by, so that two nodes can compare theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.spec.codec import sha256

RECIPE, IDENTITY, BASES = "madrun.recipe", "madrun.identity", "madrun.bases"
OWNER = "madrun.owner"  # number of the user who built it, as containers carry it
RECIPE_IN_NAME = 12  # letters of its hash that the tag of an image holds, see planning/job.py


def identity_of(inspected: Mapping[str, Any], name: str = "") -> str:
    """Digest that the registry of `name` gave, else the identity that this image's own recipe left, else its id."""
    digests = dict(str(entry).split("@", 1)[::-1] for entry in inspected.get("RepoDigests") or [])
    if digests:
        repository = split_reference(name)[0]
        # One image may lie in several registries, as several manifests.
        return next((digest for digest, known in digests.items() if known == repository), next(iter(digests)))
    return recipe_or_id(inspected)


def recipe_or_id(inspected: Mapping[str, Any]) -> str:
    """Identity of an image that was built here: every build of a recipe gets an id, and a digest, of its own.

    The recipe's labels count where the image is named after it: an image that was made from one inherits its labels.
    """
    labels = labels_of(inspected)
    named = f":{labels.get(RECIPE, '')[:RECIPE_IN_NAME]}"
    own = any(str(tag).endswith(named) for tag in inspected.get("RepoTags") or [])
    return labels[IDENTITY] if own and IDENTITY in labels else str(inspected["Id"])


def labels_of(inspected: Mapping[str, Any]) -> dict[str, str]:
    """The image's labels."""
    return dict((inspected.get("Config") or {}).get("Labels") or {})


def recipe_identity(recipe: str, bases: Mapping[str, str]) -> str:
    """Equal on two hosts that built one recipe on the same bases; `bases` holds the identity of each by name."""
    return f"recipe:{sha256([recipe, dict(sorted(bases.items()))])}"


def split_reference(name: str) -> tuple[str, str | None]:
    """Repository and tag (`latest` where there is none); a reference by digest is left whole."""
    if "@" in name:
        return name, None
    head, _, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{head}/{repository}" if head else repository, tag or "latest"
