"""The driver's snapshot of its environment: proof of which variables came to the script."""

from __future__ import annotations

from collections.abc import Mapping

from madrun.node.workspace import Workspace
from madrun.results.regular import NotRegular, open_regular
from madrun.results.rundir import ENVIRONMENT
from madrun.spec.codec import to_json
from madrun.spec.masking import without_secrets

_MOST = 4 << 20


def keep_environment(space: Workspace, secrets: Mapping[str, str]) -> None:
    """Writes environment.json beside the box, without the values of secrets; none where there is no snapshot."""
    try:
        with open_regular(space.box / "environment") as file:
            found = parse_environment(file.read(_MOST))
    except (OSError, NotRegular):
        return  # a host without /proc: `explain` then says that it is not known
    values = without_secrets(tuple(found.values()), secrets)
    (space.root / ENVIRONMENT).write_text(to_json(dict(zip(found, values, strict=True))), encoding="utf-8")


def parse_environment(data: bytes) -> dict[str, str]:
    """`NAME=VALUE` entries that end with NUL, as /proc/pid/environ holds them (proc(5)); sorted by name."""
    entries = (entry.decode("utf-8", "replace").partition("=") for entry in data.split(b"\0") if b"=" in entry)
    return dict(sorted((name, value) for name, _, value in entries if name))
