"""What the image lacks, cut into pieces that a ConfigMap takes: madrun with its dependencies, and the repository."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.backends.carry.bundle import bundle
from madrun.backends.carry.gitstate import checkout_of
from madrun.backends.kubernetes import repository
from madrun.backends.kubernetes.manifests import part
from madrun.backends.kubernetes.names import Names
from madrun.backends.kubernetes.pods import PAYLOAD, START, part_name
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.backends.launchfolder import PRIVATE_NAME
from madrun.errors import UsageError
from madrun.spec.launch import PRIVATE, Launch

# A repository may hold credentials; madrun holds none.
KIND = {"madrun": "ConfigMap"}
PIECE = 960 * 1024  # a ConfigMap takes 1 MiB of data, names included
_MOST = 32 << 20  # all of it lies in the cluster's own store until the launch has ended
_UNPACKED = 512 << 20
_MIB = 1 << 20
_FIRST_LINES = """#!/bin/sh
# The first lines in a pod: the image's python takes over from here.
for python in {minor} python3 python; do
  if command -v "$python" >/dev/null 2>&1; then exec "$python" -u "$(dirname "$0")/pod.py"; fi
done
echo "madrun: error: this image has no python3, which a pod of madrun needs; install it in the image" >&2
exit 2
"""


@dataclass(frozen=True, slots=True)
class Payload:
    """By name (`madrun`, `repository`) the bytes of an archive; `origin`: the commit that the repository is of."""

    archives: Mapping[str, bytes] = field(default_factory=dict)
    origin: Mapping[str, object] = field(default_factory=dict)

    def pieces(self) -> Iterator[tuple[str, str, bytes]]:
        """For each the kind of object that carries it, its name and its bytes, in order."""
        for name, data in self.archives.items():
            for number in range(_count(data)):
                yield KIND.get(name, "Secret"), f"{name}-{number:03d}", data[number * PIECE : (number + 1) * PIECE]

    @property
    def parts(self) -> tuple[str, ...]:
        """The kind of each object that it takes."""
        return tuple(kind for kind, _, _ in self.pieces())


def payload_of(launch: Launch, settings: KubernetesSettings) -> Payload:
    """Read from this installation and the repository; `UsageError` where it is too large to be carried."""
    archives: dict[str, bytes] = {}
    origin: dict[str, object] = {}
    if settings.madrun == "carry":
        archives["madrun"] = bundle(Path(launch.cache, "carry")).path.read_bytes()
    if settings.repository == "carry":
        root = Path(launch.repository)
        left_out = (Path(launch.results), Path(launch.folder))
        archives["repository"] = repository.pack(
            root, (*settings.exclude, PRIVATE, f"{PRIVATE_NAME}*"), left_out, _UNPACKED
        )
        git = checkout_of(root)
        origin = {"commit": git.commit, "dirty": git.dirty}
    size = sum(map(len, archives.values()))
    if size > _MOST:
        shown = ", ".join(f"{name} {len(data) / _MIB:.1f} MiB" for name, data in archives.items())
        raise UsageError(
            f"--on kubernetes: what the pods have to be given is too large for the cluster's API: {shown}; allowed: "
            f"{_MOST // _MIB} MiB in all, packed. Leave files out with kubernetes.exclude, or put the repository into "
            "the image or on a claim (kubernetes.data_claims), and give its path there as --set "
            "kubernetes.repository=/PATH"
        )
    return Payload(archives, origin)


def payload_text(settings: KubernetesSettings, names: Names, payload: Payload, kind: str) -> str:
    """The objects of this kind as one List, in JSON: `kubectl create -f` takes it. Empty where there is none."""
    items = [
        part(settings, names, (kind, part_name(names, place)), {name: base64.b64encode(data).decode()})
        for place, (one, name, data) in enumerate(payload.pieces())
        if one == kind
    ]
    if not items:
        return ""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1) + "\n"


def pod_files(launch: Launch, settings: KubernetesSettings, names: Names, payload: Payload) -> dict[str, str]:
    """What every pod starts with, beside the files that every backend gives to its nodes."""
    here = Path(__file__).parent
    carried = {
        name: {"pieces": _count(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in payload.archives.items()
    }
    told: dict[str, Any] = {
        "carried": carried,
        "payload": PAYLOAD,
        "origin": dict(payload.origin),
        "launch": launch.id,
        "marker": marker(names),
        "limit": settings.results_limit * _MIB,
        "secrets": list(settings.secrets),
    }
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return {
        START: _FIRST_LINES.replace("{minor}", minor),
        "pod.py": (here / "pod.py").read_text(encoding="utf-8"),
        "pod.json": json.dumps(told, indent=1) + "\n",
    }


def marker(names: Names) -> str:
    """What the lines begin with between which node 0 sends its results."""
    return f"@madrun:{names.job}"


def _count(data: bytes) -> int:
    return -(-len(data) // PIECE)
