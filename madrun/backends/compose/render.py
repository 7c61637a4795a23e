"""A file for Compose that brings up all nodes on one machine: a service a node.

The format is that of the Compose Specification (https://github.com/compose-spec/compose-spec), of which only what
docker-compose 1.29 takes too is used: no `name`, no `version`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from madrun.backends.compose.settings import ComposeSettings
from madrun.backends.jobimage import job_image
from madrun.backends.names import plain_name
from madrun.errors import ContextError
from madrun.spec.context import mount_source
from madrun.spec.launch import CARRIED, PROGRAM, SCRIPT, UP, Launch, NodeStart

COMPOSE = "compose.yaml"
_HEADING = "services:\n"
_NOBODY = 10**12 + 7  # a rank that no node has, and nothing else in the file
_LONG = re.compile(r"([0-9]{13,})")
_HOME = "/tmp"  # the user of the host has none in the image
_UP = """#!/bin/sh
# Brings up all nodes, shows what they print, takes everything down again, and ends with the exit code of node 0.
set -eu
cd "$(dirname "$0")"
if docker compose version >/dev/null 2>&1; then set -- docker compose; else set -- docker-compose; fi
set -- "$@" -p {project} -f {file}
mkdir -p {results}
# Whoever signals this script, Compose is told once, in a session of its own, and ends its services in order;
# docker-compose 1.29 then says 0.
child='' signal=''
trap 'signal=130; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' HUP INT TERM
setsid "$@" up --abort-on-container-exit --exit-code-from node-0 </dev/null &
child=$!
while :; do
  code=0
  wait "$child" || code=$?
  kill -0 "$child" 2>/dev/null || break
done
child=''
setsid "$@" down --timeout {grace} || true
exit "${{signal:-$code}}"
"""


def render(launch: Launch, settings: ComposeSettings) -> dict[str, str]:
    """`compose.yaml`, and `up.sh` around it; `ContextError` where the settings do not fit the card."""
    vendor, image = job_image(launch, settings.image, settings.vendor)

    def text(rank: int) -> str:
        start = NodeStart(rank, f"node-{rank}", launch.master_addr or "node-0")
        return _yaml({"services": {start.host: _service(launch, settings, start, (vendor, image))}})

    services = [text(0), *_others(text, launch.nnodes, settings.gpus_per_node or 0)]
    head = f"# Launch {launch.id}. To bring it up: sh {UP}\n"
    end = _yaml({"networks": {"default": {"labels": {"madrun.launch": launch.id}}}})
    up = _UP.format(
        project=plain_name(launch), file=COMPOSE, results=shlex.quote(launch.results), grace=settings.stop_grace
    )
    return {COMPOSE: head + "".join(services) + end, UP: up}


def _others(text: Callable[[int], str], nnodes: int, gpus: int) -> list[str]:
    """The services after the first without their heading. They differ in numbers alone: one is made for all of them.

    To make and write each of 10,000 by itself takes 20 s.
    """
    if nnodes < 2:
        return []
    rank, first = _NOBODY, text(0)
    while any(number in first for number in _numbers(rank, gpus)):
        rank += 1
    meant = _numbers(rank, gpus)
    parts = [meant.get(part, part) for part in _LONG.split(text(rank).removeprefix(_HEADING))]
    return [
        "".join(part if isinstance(part, str) else str(one * part[0] + part[1]) for part in parts)
        for one in range(1, nnodes)
    ]


def _numbers(rank: int, gpus: int) -> dict[str, tuple[int, int]]:
    """Those of the service of this rank, each with what it is of a rank, times and plus: itself, or one of its GPUs."""
    return {str(rank): (1, 0), **{str(rank * gpus + number): (gpus, number) for number in range(gpus)}}


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(_escaped(document), sort_keys=False, width=1000)


def _service(launch: Launch, settings: ComposeSettings, start: NodeStart, what: tuple[str, str]) -> dict[str, Any]:
    vendor, image = what
    env = {**start.env(), "HOME": _HOME, "USER": "madrun", "LOGNAME": "madrun"}
    if settings.madrun == "carry":
        env[PROGRAM] = f"{launch.folder}/{CARRIED}"
    service: dict[str, Any] = {
        "image": image,
        "hostname": start.host,
        "entrypoint": ["sh", f"{launch.folder}/{SCRIPT}"],
        "environment": env,
        "user": settings.user,
        "init": True,
        "restart": "no",
        "stop_grace_period": f"{settings.stop_grace}s",
        "shm_size": settings.shm_size,
        "ulimits": settings.ulimits,
        "cap_add": list(settings.cap_add),
        "volumes": _volumes(launch, settings),
        "labels": {"madrun.launch": launch.id, "madrun.node": str(start.rank)},
    }
    if start.rank > 0:
        service["depends_on"] = ["node-0"]  # its name is known from its start on
    _add_gpus(service, settings, vendor, start.rank)
    return _joined(service, settings.service)


def _joined(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """A value of theirs replaces ours; a list is added to ours, a map joined with it."""
    found = dict(ours)
    for key, value in theirs.items():
        before = found.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            found[key] = before | value
        else:
            found[key] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    return found


def _volumes(launch: Launch, settings: ComposeSettings) -> list[dict[str, Any]]:
    """What has the same path in the containers and here, so that records say where things lie; and what was asked."""
    places = {launch.repository: False, launch.results: False, launch.folder: True}
    found = [_bind(path, path, read_only) for path, read_only in places.items()]
    for target, value in settings.mounts.items():
        source, read_only = mount_source(value)
        found.append(_bind(source, target, read_only))
    return found


def _bind(source: str, target: str, read_only: bool) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": read_only}


def _add_gpus(service: dict[str, Any], settings: ComposeSettings, vendor: str, rank: int) -> None:
    """This node's share; no GPU can be two nodes'."""
    count = settings.gpus_per_node
    if vendor not in ("amd", "nvidia"):
        if count is not None:
            raise ContextError(
                f"compose.gpus_per_node: found {count}, but the image is for {vendor or 'no known vendor'}; allowed: "
                "beside compose.vendor=amd or nvidia"
            )
        return
    if count is None:
        raise ContextError(
            "compose.gpus_per_node: is missing; give how many of this machine's GPUs each node gets, as "
            "--set compose.gpus_per_node=N"
        )
    ids = [str(number) for number in range(rank * count, (rank + 1) * count)]
    if vendor == "nvidia":
        device = {"driver": "nvidia", "device_ids": ids, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
        return
    service["devices"] = ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]
    service["group_add"] = list(settings.groups)
    service["environment"]["ROCR_VISIBLE_DEVICES"] = ",".join(ids)


def _escaped(value: Any) -> Any:
    """Compose puts variables of its own environment where a `$` stands; `$$` is one."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, (list, tuple)) else value
