"""A container made by the engine's own command line client: the one way to give it free-form options.

It is then attached to and started like any other. Values of secrets go to the client as variables, never as words.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from madrun.errors import EngineError
from madrun.runtimes.spelling import docker_argv
from madrun.spec.plan import SECRET, Container

_ID = re.compile(r"[0-9a-f]{64}")
_CREATE_S = 120


def create(client: Any, container: Container, secrets: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Id of the container made, not started; `EngineError` with the client's words, or where it is not the planned one.

    `env`: the environment of the command, with the engine's address and a PATH on which it is looked for. Wrong options
    can turn one word into another's value: what came of them is looked at before anything starts.
    """
    program = shutil.which(container.program, path=env.get("PATH", ""))
    if program is None:
        raise EngineError(
            f"additional_docker_run_options need the {container.program} command, which is not on PATH; install it, or "
            "say the same with docker_env_vars, docker_mounts, docker_cpus, shm_size or ipc"
        )
    done = subprocess.run(
        [program, "create", *docker_argv(container)[2:]],
        env={**env, **_hidden(container, secrets)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CREATE_S,
    )
    created = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not _ID.fullmatch(created):
        said = done.stderr.strip() or done.stdout.strip()
        raise EngineError(f"additional_docker_run_options ({' '.join(container.options)}): {container.program}: {said}")
    _check(client, container, created)
    return created


def _hidden(container: Container, secrets: Mapping[str, str]) -> dict[str, str]:
    return {name: secrets[name] for name, value in container.env.items() if value == SECRET and name in secrets}


def _check(client: Any, container: Container, created: str) -> None:
    """`EngineError`, and no container left, where the options changed what madrun relies on."""
    seen = client.inspect_container(created)
    config, host = seen["Config"], seen["HostConfig"]
    labels = config.get("Labels") or {}
    wrong = [
        name
        for name, holds in {
            "its name": seen["Name"].lstrip("/") == container.name,
            "its labels": all(labels.get(key) == value for key, value in container.labels.items()),
            "the image": config["Image"].removeprefix("docker.io/library/") in (container.image, seen["Image"])
            or config["Image"].endswith(container.image),
            "the driver": list(config.get("Cmd") or [])[-len(container.command) :] == list(container.command),
            "its removal at the end": bool(host.get("AutoRemove")),
            "its input": bool(config.get("OpenStdin")) and not config.get("Tty"),
        }.items()
        if not holds
    ]
    if wrong:
        client.remove_container(created, force=True, v=True)
        raise EngineError(
            f"additional_docker_run_options ({' '.join(container.options)}) change {', '.join(wrong)} of the "
            "container; leave out the option that does"
        )
