"""What one selected card is run as: once for each of its Dockerfiles that fits this run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.planning.job import choose_runtime
from madrun.registry.mad.dockerfiles import CTX_TEST, VENDOR, candidates, matching, word_of_test
from madrun.spec.card import Card, ImageSource
from madrun.spec.context import Context, Layer
from madrun.spec.facts import HostFacts

READY_IMAGE = "DOCKER_IMAGE_NAME"  # of a card's env_vars: an image that is not built here
_UNKNOWN = re.compile(r"unknown key (\S+) has no effect")
_HOST_OS = {"ubuntu": "UBUNTU", "centos": "CENTOS", "rhel": "CENTOS", "sles": "SLES", "azurelinux": "AZURE"}


def cases_of(card: Card, context: Context, facts: HostFacts, layers: Iterable[Layer] = ()) -> list[Card]:
    """The card itself, or, of a MAD repository, one for each Dockerfile; `CardError` where none fits, or in trouble.

    `layers`: where the context came from; any key of theirs may be one of a header, also one that means nothing else.
    """
    if card.trouble:
        raise CardError(card.trouble)
    ready = context.MAD_CONTAINER_IMAGE or card.images
    if card.mad is None or ready or choose_runtime(context, facts)[0] == "process":
        return [card]
    vendor = facts.accelerator.vendor
    asked = context.env_vars.get(READY_IMAGE)
    named = asked or card.mad.env_vars.get(READY_IMAGE)
    if named and (asked or not card.mad.dockerfile):
        return [replace(card, images={vendor: ImageSource(image=named)})]
    sources, warnings = matching(card, known_of(layers, vendor, Path(card.repository)))
    warned = replace(card, warnings=(*card.warnings, *warnings))
    return [replace(warned, images={vendor: source}) for source in sources]


def known_of(layers: Iterable[Layer], vendor: str, repository: Path) -> dict[str, Any]:
    """What the header of a Dockerfile is held against: what was said, else what was found."""
    known: dict[str, Any] = {VENDOR: vendor.upper(), CTX_TEST: word_of_test(repository)}
    system = _HOST_OS.get(_os_release().get("ID", ""))
    known |= {"host_os": f"HOST_{system}"} if system else {}
    for layer in layers:
        known |= {key: value for key, value in layer.values.items() if value is not None}
    return known


def is_of_header(card: Card, warning: str) -> bool:
    """Whether the warning calls a key unknown by which a Dockerfile of the card is chosen."""
    match = _UNKNOWN.search(warning)
    return bool(match and card.mad and any(match[1] in candidate.wants for candidate in candidates(card)))


def _os_release() -> Mapping[str, str]:
    """The host's /etc/os-release (os-release(5)); empty where it has none."""
    import platform

    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
