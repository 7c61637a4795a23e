"""Devices of the Container Device Interface that this host's specification files name.

Format: CDI specification, `kind` and `devices[].name`: https://github.com/cncf-tags/container-device-interface
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
_MOST_BYTES = 16 << 20


def devices(folders: Iterable[Path] = FOLDERS) -> tuple[str, ...]:
    """Qualified names such as `nvidia.com/gpu=0`, in the order of the files; other files name none."""
    return tuple(dict.fromkeys(name for file in _files(folders) for name in _names(_read(file))))


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            yield from sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
        except OSError:
            continue


def _read(file: Path) -> Any:
    import yaml

    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return None
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return json.loads(text)
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _names(spec: Any) -> Iterator[str]:
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        return
    listed = spec.get("devices")
    for device in listed if isinstance(listed, list) else ():
        name = device.get("name") if isinstance(device, dict) else None
        if isinstance(name, str | int) and str(name):
            yield f"{spec['kind']}={name}"
