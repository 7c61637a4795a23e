"""The images of a native card for the Dockerfiles of a MAD card, and the files that they are built from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from madrun.errors import CardError
from madrun.registry.cardtree import IGNORED, read_text
from madrun.registry.mad.dockerfiles import candidates, context_of
from madrun.spec.card import Card, ImageSource, Vendor
from madrun.spec.dockerfile import copies_tools, instructions

VENDORS: tuple[Vendor, ...] = ("amd", "nvidia", "cpu")


@dataclass(frozen=True, slots=True)
class Images:
    """By accelerator, paths relative to the repository; what has no place; what has to be copied."""

    sources: dict[Vendor, ImageSource]
    notes: tuple[str, ...]
    files: tuple[Path, ...]


def images_of(card: Card) -> Images:
    """The images of the card; `CardError` where it has none that a native card can name."""
    assert card.mad is not None
    ready = card.mad.env_vars.get("DOCKER_IMAGE_NAME")
    found = candidates(card) if card.mad.dockerfile else []
    if not found and ready:
        return Images({vendor: ImageSource(image=ready) for vendor in VENDORS}, (), ())
    if not found:
        raise CardError(f"{card.source}: {card.name}: no Dockerfile {card.mad.dockerfile}.*")
    sources: dict[Vendor, ImageSource] = {}
    notes, files = [], []
    context = context_of(card)
    # A Dockerfile that names its vendor first: one that names none serves those that are left.
    for candidate in sorted(found, key=lambda candidate: "gpu_vendor" not in candidate.wants):
        word = str(candidate.wants.get("gpu_vendor", "")).lower()
        wanted = [vendor for vendor in VENDORS if word in ("", vendor)]
        free = [vendor for vendor in wanted if vendor not in sources]
        if not free:
            why = f"{word} has one already" if wanted else f"gpu_vendor {word!r} is no accelerator of a native card"
            notes.append(f"{candidate.path}: left out: {why}; a native card has one image for each accelerator")
            continue
        for vendor in free:
            sources[vendor] = ImageSource(dockerfile=candidate.path, context=context)
        others = sorted(set(candidate.wants) - {"gpu_vendor", "guest_os"})
        if others:
            notes.append(f"{candidate.path}: {', '.join(others)} of its CONTEXT header no longer counts")
        if copies_tools(read_text(Path(card.repository, candidate.path))):
            notes.append(f"{candidate.path}: copies from `tools` (docker/common), which a native card does not send")
        files += _needed(Path(card.repository), candidate.path, context)
    if not sources:
        raise CardError(f"{card.source}: {card.name}: no Dockerfile for {', '.join(VENDORS)}: {'; '.join(notes)}")
    return Images({vendor: sources[vendor] for vendor in VENDORS if vendor in sources}, tuple(notes), tuple(files))


def _needed(repository: Path, name: str, context: str) -> list[Path]:
    """The Dockerfile and what the builder is sent; of the whole repository what COPY and ADD name."""
    dockerfile, folder = repository / name, repository / context
    ignore = [dockerfile.with_name(f"{dockerfile.name}.dockerignore"), folder / ".dockerignore"]
    found = [dockerfile, *(path for path in ignore if path.is_file())]
    if folder.resolve() != repository.resolve():
        return found + [path for path in _walk(folder) if not _is_dockerfile(path)]
    for pattern in _copied(read_text(dockerfile)):
        for path in sorted(repository.glob(pattern)) if not pattern.startswith(("/", "..")) else ():
            found += _walk(path) if path.is_dir() else [path]
    return found


def _is_dockerfile(path: Path) -> bool:
    return path.name.endswith("Dockerfile") or path.name.startswith("Dockerfile")


def _walk(folder: Path) -> Iterator[Path]:
    """Every regular file below, but what never belongs to a build."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name in IGNORED or entry.name in ("results", "credential.json"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _copied(text: str) -> Iterator[str]:
    for instruction in instructions(text):
        words = instruction.rest.split()
        if instruction.word not in ("COPY", "ADD") or any(word.startswith("--from=") for word in words):
            continue
        rest = " ".join(word for word in words if not word.startswith("--"))
        try:
            names = json.loads(rest) if rest.startswith("[") else rest.split()
        except ValueError:
            continue
        yield from (name.removeprefix("./").strip("/") or "*" for name in names[:-1] if "://" not in name)
