"""A container of the plan in the two languages: words for `docker run`, and JSON for the Engine API."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from madrun.spec.plan import SECRET, Container, Mount, filled


def docker_argv(container: Container) -> list[str]:
    """`docker run ...` as a user would type it; a secret is taken from the environment of who types it."""
    words = [container.program, "run", "--rm", "--interactive", "--name", container.name]
    words += [
        "--entrypoint",
        container.entrypoint[0],
        "--user",
        container.user,
        "--workdir",
        container.workdir,
    ]
    words += ["--network", container.network, "--ipc", container.ipc]
    words += [] if container.ipc == "host" else ["--shm-size", str(container.shm_size)]  # the host's has its size
    words += ["--log-driver", container.log_driver]
    # podman's own defaults are a limit of 2048 processes, and proxy variables of the host
    words += ["--pids-limit", "-1", "--http-proxy=false"] if container.program == "podman" else []
    words += ["--cpuset-cpus", container.cpus] if container.cpus else []
    words += ["--cgroup-parent", container.cgroup_parent] if container.cgroup_parent else []
    for name, limit in container.ulimits.items():
        words += ["--ulimit", f"{name}={limit}:{limit}"]
    words += ["--gpus", _gpu_words(container.gpus)] if container.gpus else []
    for flag, values in (
        ("--device", (*container.devices, *container.cdi)),
        ("--group-add", container.groups),
        ("--cap-add", container.cap_add),
        ("--security-opt", container.security_opt),
        ("--add-host", container.hosts),
    ):
        words += [word for value in values for word in (flag, value)]
    for name, value in container.labels.items():
        words += ["--label", f"{name}={value}"]
    for mount in container.mounts:
        words += ["--mount", _mount_words(mount)]
    for name, value in container.env.items():
        words += ["--env", name if value == SECRET else f"{name}={value}"]
    return [*words, *container.options, container.image, *container.entrypoint[1:], *container.command]


def _gpu_words(gpus: str) -> str:
    """`all`, or the devices as one field: --gpus is a CSV line, and so is the list of devices in it."""
    return gpus if gpus == "all" else f'"device={gpus}"'


def _gpu_request(gpus: str) -> dict[str, Any]:
    """The same for the Engine API (DeviceRequest): a count of -1 is all."""
    which: dict[str, Any] = {"Count": -1} if gpus == "all" else {"DeviceIDs": gpus.split(",")}
    return {"Driver": "", "Capabilities": [["gpu"]], **which}


def _mount_words(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    fields += ["readonly"] if mount.read_only else []
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)  # --mount is a CSV line: a comma in a path is quoted
    return line.getvalue()


def engine_config(container: Container, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Body of POST /containers/create (Docker Engine API 1.41) that does what `docker_argv` says."""
    env = [f"{name}={value}" for name, value in filled(container.env, secrets).items()]
    host: dict[str, Any] = {
        "NetworkMode": container.network,
        "IpcMode": container.ipc,
        "ShmSize": container.shm_size,
        "AutoRemove": True,
        "LogConfig": {"Type": container.log_driver, "Config": {}},
        "Ulimits": [{"Name": name, "Soft": n, "Hard": n} for name, n in container.ulimits.items()],
        "Mounts": [
            {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
            for mount in container.mounts
        ],
        "Devices": [
            {"PathOnHost": device, "PathInContainer": device, "CgroupPermissions": "rwm"}
            for device in container.devices
        ],
        "GroupAdd": list(container.groups),
        "CapAdd": list(container.cap_add),
        "SecurityOpt": list(container.security_opt),
        "ExtraHosts": list(container.hosts),
    }
    if container.cpus:
        host["CpusetCpus"] = container.cpus
    if container.cgroup_parent:
        host["CgroupParent"] = container.cgroup_parent
    requests = [_gpu_request(container.gpus)] if container.gpus else []
    requests += [{"Driver": "cdi", "DeviceIDs": list(container.cdi)}] if container.cdi else []
    if requests:
        host["DeviceRequests"] = requests
    return {
        "Image": container.image,
        "Entrypoint": list(container.entrypoint),
        "Cmd": list(container.command),
        "WorkingDir": container.workdir,
        "User": container.user,
        "Env": env,
        "Labels": dict(container.labels),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "HostConfig": host,
    }
