"""The image in which a node of a launch runs, where its node is a container from the start."""

from __future__ import annotations

from madrun.errors import ContextError
from madrun.spec.launch import Launch


def job_image(launch: Launch, image: str | None, vendor: str | None) -> tuple[str, str]:
    """Vendor and image: as the settings say them, else those of the card; the vendor may be empty beside a said image.

    `ContextError` where the card has images for several vendors, or one that has to be built first, and nothing is
    said; and where there are several cards, whose images may differ.
    """
    key = launch.backend
    vendors = sorted(launch.images)
    if vendor is not None and vendors and vendor not in vendors and image is None:
        raise ContextError(
            f"{key}.vendor: found {vendor!r}, but {launch.cards[0]} has images for {', '.join(vendors)}; allowed: one "
            f"of them, or an image of your own as {key}.image"
        )
    if image is not None:
        return vendor or (vendors[0] if len(vendors) == 1 else ""), image
    if len(launch.cards) > 1:
        raise ContextError(
            f"--on {key}: found the cards {', '.join(launch.cards)}, whose images may differ; allowed: one card, or an "
            f"image for all of them as --set {key}.image=NAME"
        )
    if vendor is None and len(vendors) > 1:
        raise ContextError(
            f"{key}.vendor: is missing, and {launch.cards[0]} has images for {', '.join(vendors)}; give one of them, "
            f"as --set {key}.vendor={vendors[0]}"
        )
    return _of_card(launch, vendor or (vendors[0] if vendors else ""))


def _of_card(launch: Launch, vendor: str) -> tuple[str, str]:
    if found := launch.images.get(vendor):
        return vendor, found
    raise ContextError(
        f"{launch.backend}.image: is missing, and {launch.cards[0]} names no ready image: it is built from a "
        f"Dockerfile. Build it with madrun build --tags {launch.cards[0]}, and give its name as "
        f"--set {launch.backend}.image=NAME"
    )
