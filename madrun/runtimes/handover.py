"""Gives files that a container left as root's to the user who ran it: one clean-up container, only where needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from madrun.errors import EngineError

_HOST_TOOLS = ("/usr", "/bin", "/lib", "/lib64")


def hand_over(client: Any, image: str, folder: Path, owner: str) -> None:
    """`chown -R` of the folder in a container of the image; with the host's own chown where the image has none."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        code = _run(client, image, folder, owner, tools=False)
    except APIError:
        try:
            code = _run(client, image, folder, owner, tools=True)
        except APIError as error:
            raise EngineError(f"{folder} could not be given to {owner}: {error.explanation or error}") from None
    except RequestException:
        raise EngineError(f"{folder} could not be given to {owner}: the container engine does not answer") from None
    if code != 0:
        raise EngineError(f"{folder} could not be given to {owner}: chown ended with exit code {code}")


def _run(client: Any, image: str, folder: Path, owner: str, *, tools: bool) -> int:
    mounts = [{"Type": "bind", "Source": str(folder), "Target": "/handover", "ReadOnly": False}]
    if tools:
        present = [Path(tool) for tool in _HOST_TOOLS if Path(tool).exists()]
        mounts += [
            {"Type": "bind", "Source": str(tool.resolve()), "Target": str(tool), "ReadOnly": True} for tool in present
        ]
    config = {
        "Image": image,
        "Entrypoint": ["/usr/bin/chown" if tools else "chown", "-hR", owner, "/handover"],
        "User": "0",
        "Labels": {"madrun.handover": str(folder)},
        "HostConfig": {"NetworkMode": "none", "Mounts": mounts},
    }
    created = client.create_container_from_config(config)["Id"]
    try:
        client.start(created)
        return int(client.wait(created, timeout=60)["StatusCode"])
    finally:
        client.remove_container(created, force=True)
