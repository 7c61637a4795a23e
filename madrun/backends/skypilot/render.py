"""A task for SkyPilot: as many machines as there are nodes, each with the job's image, the repository and the script.

The format is that of https://docs.skypilot.co/en/latest/reference/yaml-spec.html; the variables SKYPILOT_NODE_RANK and
SKYPILOT_NODE_IPS are those of https://docs.skypilot.co/en/latest/running-jobs/distributed-jobs.html.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Any

from madrun.backends.jobimage import job_image
from madrun.backends.names import plain_name
from madrun.backends.skypilot.settings import SkyPilotSettings
from madrun.errors import ContextError
from madrun.spec.launch import CARRIED, PREFIX, PROGRAM, REPOSITORY, RESULTS, SCRIPT, UP, Launch

TASK = "task.yaml"
_RESULTS = "madrun-results"  # in the home of each node; node 0's are brought back
_UP = """#!/bin/sh
# Starts the task, brings the results of node 0 here, takes the machines down, and ends with the exit code of the task.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./private.env
code=0 signal=
# A signal ends `sky launch` alone: what it started would go on, and its machines would stay up.
trap 'signal=130' HUP INT TERM
sky launch -y -c {name} {secrets} {task} || code=$?
mkdir -p {results}
rsync -a {name}:{remote}/ {results}/ || {{
  echo "no results came from {name}; if it is up they lie in its {remote}: bring them here, then: sky down {name}" >&2
  exit 2
}}
sky down -y {name}
exit "${{signal:-$code}}"
"""


def render(launch: Launch, settings: SkyPilotSettings) -> dict[str, str]:
    """`task.yaml`, and `up.sh` around it; `ContextError` where the settings do not fit the card."""
    folder = f".madrun/launches/{launch.id}"
    task: dict[str, Any] = {
        "name": plain_name(launch),
        "num_nodes": launch.nnodes,
        "resources": _resources(launch, settings),
        "workdir": launch.repository,
        "file_mounts": _mounts(launch, settings, folder),
        # Values come with `sky launch --secret`, and stand in no file that SkyPilot keeps.
        "secrets": dict.fromkeys(launch.secrets),
    }
    if settings.setup:
        task["setup"] = settings.setup
    task["run"] = _run(launch, settings, folder)
    up = _UP.format(
        name=plain_name(launch),
        secrets=shlex.join(word for name in launch.secrets for word in ("--secret", name)),
        task=TASK,
        results=shlex.quote(launch.results),
        remote=_RESULTS,
    )
    return {TASK: f"# Launch {launch.id}. To start it: sh {UP}\n{_as_yaml(task)}", UP: up}


def _as_yaml(task: dict[str, Any]) -> str:
    """Several lines stand as they are, after a `|`."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(task, Dumper=Dumper, sort_keys=False, width=1000)


def _resources(launch: Launch, settings: SkyPilotSettings) -> dict[str, Any]:
    vendor, image = job_image(launch, settings.image, settings.vendor)
    if vendor in ("amd", "nvidia") and not settings.accelerators and "accelerators" not in settings.resources:
        raise ContextError(
            f"skypilot.accelerators: is missing, and the image is for {vendor}; give what each node is to have, as "
            "--set skypilot.accelerators=NAME:COUNT"
        )
    said = ("infra", "accelerators", "cpus", "memory", "disk_size", "use_spot")
    values = {name: value for name in said if (value := getattr(settings, name)) is not None}
    return {**values, "image_id": f"docker:{image}", **settings.resources}


def _mounts(launch: Launch, settings: SkyPilotSettings, folder: str) -> dict[str, str]:
    """Files of the launch's folder by their place on the nodes; the private one is none of them."""
    names = [SCRIPT, *launch.files]
    if settings.madrun == "carry":
        names.append(PurePosixPath(CARRIED).parts[0])
    return {f"~/{folder}/{name}": f"{launch.folder}/{name}" for name in names}


def _run(launch: Launch, settings: SkyPilotSettings, folder: str) -> str:
    """What each node runs; the first line of SKYPILOT_NODE_IPS is node 0's address."""
    master = shlex.quote(launch.master_addr) if launch.master_addr else '"${SKYPILOT_NODE_IPS%%[[:space:]]*}"'
    lines = [
        f"export {PREFIX}MASTER_ADDR={master}",
        f'export {REPOSITORY}="$HOME/sky_workdir"',
        f'export {RESULTS}="$HOME/{_RESULTS}"',
    ]
    if settings.madrun == "carry":
        lines.append(f'export {PROGRAM}="$HOME/{folder}/{CARRIED}"')
    return "\n".join([*lines, f'exec sh "$HOME/{folder}/{SCRIPT}"', ""])
