"""Which installed files a node's `madrun run` needs: madrun's own, and those of its run-time dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from madrun.errors import UsageError

NAME = "madrun"
# Only `madrun report` wants them: with what they bring along they are ten times the size of all the rest.
LEFT_OUT = frozenset({"pandas", "rich"})
_PROGRAMS = ("py-spy",)  # what a dependency installs beside python, and a node's run starts
_WISHED = ("py-spy",)  # carried where it is installed: a checkout's metadata may be older than what it needs
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_JUNK = ("__pycache__", ".dist-info", ".egg-info")


def normal(name: str) -> str:
    """A distribution's name as all spellings of it share it (packaging.python.org, Name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(name: str = NAME) -> list[str]:
    """`typer>=0.15`: what the distribution needs at run time, without what only reports do and without extras."""
    found = []
    for line in metadata.requires(name) or ():
        text, _, marker = line.partition(";")
        if not marker.strip() and normal(_name_of(text)) not in LEFT_OUT:
            found.append(re.sub(r"[\s()]", "", text))
    return found


def closure(name: str = NAME) -> list[str]:
    """The distributions that `name` needs, itself left out, and those that these need; sorted.

    What is needed under a condition (`sys_platform == "win32"`) is taken where it is installed, which can only be too
    much. `UsageError` where one that is always needed is not installed.
    """
    seen: set[str] = set()
    queue = [(name, True), *((wish, False) for wish in _WISHED if name == NAME)]
    while queue:
        wanted, certain = queue.pop()
        if normal(wanted) in seen | LEFT_OUT:
            continue
        try:
            lines = metadata.requires(wanted) or []
        except metadata.PackageNotFoundError:
            if certain:
                raise UsageError(_not_found(wanted)) from None
            continue
        seen.add(normal(wanted))
        for line in lines:
            text, _, marker = line.partition(";")
            if "extra" not in marker:
                queue.append((_name_of(text), not marker.strip()))
    return sorted(seen - {normal(name)})


def files_of(name: str) -> dict[str, Path]:
    """Files of an installed distribution, by their place below `site-packages`; programs it installs as `bin/NAME`.

    Without its metadata, tests of caches and compiled python. A distribution that no file list came with (a package of
    the system) is taken by its top-level modules.
    """
    distribution = metadata.distribution(name)
    found: dict[str, Path] = {}
    for entry in distribution.files or ():
        place = Path(str(distribution.locate_file(entry)))
        if entry.parts[0] == "..":
            if entry.name in _PROGRAMS and place.is_file():
                found[f"bin/{entry.name}"] = place.resolve()
        elif not _is_junk(entry.parts) and place.is_file():
            found["/".join(entry.parts)] = place
    if not found:
        found = dict(_by_modules(name, distribution))
    if not found:
        raise UsageError(_not_found(name))
    return found


def own_files() -> dict[str, Path]:
    """Those of madrun itself, with the cards and data that it ships, whether installed or run from a checkout."""
    package = Path(__file__).resolve().parents[2]
    found = {f"{NAME}/{place}": path for place, path in _below(package)}
    if not (package / "shipped" / "models").is_dir():
        beside = package.parent
        found |= {f"{NAME}/shipped/models/{place}": path for place, path in _below(beside / "models")}
        if (beside / "data.json").is_file():
            found[f"{NAME}/shipped/data.json"] = beside / "data.json"
    return found


def _by_modules(name: str, distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for module in (distribution.read_text("top_level.txt") or normal(name).replace("-", "_")).split():
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            yield from ((f"{module}/{place}", path) for place, path in _below(origin.parent))
        else:
            yield origin.name, origin


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not _is_junk(place.parts):
            yield place.as_posix(), path


def _is_junk(parts: tuple[str, ...]) -> bool:
    return any(part.endswith(_JUNK) for part in parts)


def _name_of(requirement: str) -> str:
    found = _REQUIREMENT.match(requirement)
    return found[1] if found else requirement.strip()


def _not_found(name: str) -> str:
    return (
        f"carrying madrun: found no files of {name} in this installation, which madrun needs; install madrun anew here "
        "(pip install), or install it on the nodes and set ssh.madrun to installed"
    )
