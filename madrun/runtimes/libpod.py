"""A container of the plan for podman: created through its own API, on the socket where it also speaks docker's.

Docker's form of the request would lose what is asked for: podman 4 takes no CDI device in it, ignores a GPU request
and, without root, every limit, and makes a mount's missing source. Format: SpecGenerator of the libpod API 4.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from madrun.errors import EngineError
from madrun.spec.plan import Container, filled

_API = "v4.0.0/libpod"
_UNLIMITED = (1 << 64) - 1
KEEP_GROUPS = "keep-groups"


def create(client: Any, container: Container, secrets: Mapping[str, str]) -> str:
    """Id of the container made, not started; `docker.errors.APIError` where podman refuses."""
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    answer = client.post(f"{client.base_url}/{_API}/containers/create", json=create_spec(container, secrets))
    try:
        answer.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)
    return str(json.loads(answer.content)["Id"])


def create_spec(container: Container, secrets: Mapping[str, str]) -> dict[str, Any]:
    """What `podman run` with the words of `docker_argv` asks for; `EngineError` for an unknown security option."""
    devices = [*container.devices, *container.cdi, *_gpu_names(container.gpus)]
    spec: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "entrypoint": list(container.entrypoint),
        "command": list(container.command),
        "work_dir": container.workdir,
        "user": container.user,
        "env": filled(container.env, secrets),
        "labels": dict(container.labels),
        "mounts": [
            {
                "type": "bind",
                "source": mount.source,
                "destination": mount.target,
                "options": ["rbind", "ro" if mount.read_only else "rw"],
            }
            for mount in container.mounts
        ],
        "netns": {"nsmode": container.network},
        "ipcns": {"nsmode": container.ipc},
        "r_limits": [_limit(name, limit) for name, limit in container.ulimits.items()] or None,
        "devices": [{"path": name} for name in devices],
        "groups": [group for group in container.groups if group != KEEP_GROUPS],
        "cap_add": list(container.cap_add),
        "log_configuration": {"driver": container.log_driver},
        # as with docker: no limit of podman's own
        "resource_limits": {"pids": {"limit": -1}} | ({"cpu": {"cpus": container.cpus}} if container.cpus else {}),
        "httpproxy": False,  # what reaches the container is in the plan
        "stdin": True,
        "terminal": False,
        "remove": True,
    }
    if container.ipc != "host":
        spec["shm_size"] = container.shm_size
    if KEEP_GROUPS in container.groups:
        spec["annotations"] = {"run.oci.keep_original_groups": "1"}  # what the client makes of --group-add keep-groups
    return spec | _security(container.security_opt)


def _limit(name: str, value: int) -> dict[str, Any]:
    number = _UNLIMITED if value == -1 else value
    return {"type": name, "soft": number, "hard": number}


def _gpu_names(gpus: str) -> list[str]:
    """`all` or `0,2` as CDI devices: podman has no other way to a vendor's GPUs."""
    return [f"nvidia.com/gpu={word}" for word in gpus.split(",")] if gpus else []


def _security(options: tuple[str, ...]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key == "seccomp":
            spec["seccomp_profile_path"] = value
        elif key == "apparmor":
            spec["apparmor_profile"] = value
        elif key == "label":
            spec.setdefault("selinux_opts", []).append(value)
        elif key == "no-new-privileges":
            spec["no_new_privileges"] = value in ("", "true")
        else:
            raise EngineError(f"podman: security option {option!r} is not known; allowed: seccomp, apparmor, label")
    return spec
