"""What an engine refused of a container, told apart by its own words, and what to do about it."""

from __future__ import annotations

import dataclasses
import re

from madrun.spec.plan import Container

# What runc and crun say when they may not set a limit; runc gives the number of RLIMIT_* of Linux.
_RLIMIT = re.compile(r"rlimits? (?:for )?(?:ready process: error setting rlimit )?type:? (\d+)|`?RLIMIT_(\w+)`?")
_RLIMIT_NAMES = {"3": "stack", "6": "nproc", "7": "nofile", "8": "memlock"}
_NO_CAPABILITY = ("unable to apply caps", "invalid CapAdd", "unknown capability")
# Looking into one's own processes: nothing that is measured depends on it.
_OPTIONAL_CAPABILITIES = frozenset({"SYS_PTRACE"})

_HINTS = {
    "could not select device driver": "install the vendor's container toolkit, or use --runtime process",
    "unresolvable CDI devices": "make the vendor's CDI specification anew (NVIDIA, as root: "
    "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml), or use --runtime process",
    "bind source path does not exist": "every mount's source must exist on this host; none is created silently",
    "statfs /dev/mqueue": "this host has no /dev/mqueue, which podman mounts with ipc: host; use ipc: private",
    "statfs ": "every mount's source must exist on this host; none is created silently",
    "is already in use": "another container has this name; madrun's names hold the run id",
    "cgroups in hybrid mode not supported": "crun does not run on this host's cgroups; "
    'set runtime = "runc" under [engine] in containers.conf and restart podman\'s service',
    "setting rlimit": "podman asks for limits of its own that it may not raise here; "
    "set default_ulimits under [containers] in containers.conf and restart podman's service",
    "unable to apply caps": "the engine may not give this capability; the site file can drop it with docker_drop",
    "Unable to find group": "this engine cannot keep the caller's groups; drop it with docker_drop: [groups]",
    "exec format error": "the image is for another architecture than this host",
}


def smaller(container: Container, text: str) -> tuple[Container, str] | None:
    """The container without what was refused, and the line that says so; None where the rest would not be the same run.

    Only limits and capabilities that no measured number depends on are given up.
    """
    said = f"the engine refused it ({text.rpartition(': error')[2].strip()[-120:]})"
    if container.ulimits and (limit := refused_limit(text)) is not None:
        if limit in container.ulimits:
            fewer = {name: value for name, value in container.ulimits.items() if name != limit}
            return dataclasses.replace(container, ulimits=fewer), f"{limit} left out: {said}"
        # podman adds limits of its own to any that are asked for, and it is one of those
        names = ", ".join(container.ulimits)
        return dataclasses.replace(container, ulimits={}), f"{names} left out, for podman adds {limit}: {said}"
    if container.cgroup_parent and "cgroup" in text:  # such as a job's rules of devices, which its own may not widen
        return dataclasses.replace(
            container, cgroup_parent=""
        ), f"cgroup parent {container.cgroup_parent} left out: {said}"
    if any(sign in text for sign in _NO_CAPABILITY) and container.cap_add:
        if not set(container.cap_add) <= _OPTIONAL_CAPABILITIES:
            return None
        return dataclasses.replace(container, cap_add=()), f"{', '.join(container.cap_add)} left out: {said}"
    return None


def refused_limit(text: str) -> str | None:
    """Name of the limit, as `ulimit` has it, that the engine says it may not set."""
    match = _RLIMIT.search(text)
    if match is None:
        return None
    return _RLIMIT_NAMES.get(match[1]) if match[1] else match[2].lower()


def dropped_capabilities(container: Container, granted: list[str] | None) -> list[str]:
    """A line for each capability that was asked for and is not among those of the created container.

    Podman leaves out, without a word, what it does not have itself.
    """
    have = {name.removeprefix("CAP_") for name in granted or []}
    missing = [name for name in container.cap_add if name.removeprefix("CAP_") not in have and "ALL" not in have]
    return [f"{name} left out: the engine does not have this capability itself" for name in missing]


def start_error(text: str, container: Container) -> str:
    """The engine's words, with what to do next where that is known."""
    hint = next((hint for sign, hint in _HINTS.items() if sign in text), "see the engine's own log")
    if "bash" in text and "executable file" in text and "not found" in text:
        hint = f"the driver needs bash; {container.image} has no bash, or a mount or PATH of the context hides it"
    return f"the engine refused to start {container.name}: {text.strip()}\n{hint}"
