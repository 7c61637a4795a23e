"""What the environment of this process says about the run: scheduler, secrets, PATH."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from madrun.errors import ContextError
from madrun.spec.context import can_be_passed, is_secret
from madrun.spec.facts import Engine
from madrun.spec.launch import LAUNCH, NODE_KEYS, PREFIX


def scheduler_args(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """NNODES and NODE_RANK as the scheduler says them; empty outside a multi-node step.

    SLURM: only inside an srun step (SLURM_STEP_NUM_NODES): in a batch script every node looks like node 0.
    Kubernetes: JOB_COMPLETION_INDEX of an Indexed Job names the rank. A launch of madrun's own says all of it.
    """
    if LAUNCH in env:
        return {key: env[f"{PREFIX}{key}"] for key in NODE_KEYS if env.get(f"{PREFIX}{key}")}
    if "SLURM_STEP_NUM_NODES" in env and "SLURM_NODEID" in env:
        return {"NNODES": env["SLURM_STEP_NUM_NODES"], "NODE_RANK": env["SLURM_NODEID"]}
    if "JOB_COMPLETION_INDEX" in env:
        return {"NODE_RANK": env["JOB_COMPLETION_INDEX"]}
    return {}


def launched_by(env: Mapping[str, str] = os.environ) -> str:
    """`ssh`, `slurm` and so on where this process is one node's part of a launch; else empty."""
    return env.get(LAUNCH, "").partition(":")[0]


def forwarded_secrets(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables of this host whose name contains MAD_SECRETS: they are passed on, never written down."""
    return {name: value for name, value in env.items() if "MAD_SECRETS" in name and _is_text(name, value)}


NODES_SECRET = "MADRUN_SECRET"


def nodes_secret(env: Mapping[str, str] = os.environ) -> bytes:
    """The secret that the nodes share, nothing where none is given; an empty one is an error, for it looks like one."""
    value = env.get(NODES_SECRET)
    if value is None:
        return b""
    if not value.strip():
        raise ContextError(
            f"{NODES_SECRET}: found an empty value, which protects nothing; give every node the same long random text, "
            "or unset it everywhere"
        )
    return os.fsencode(value)


def _is_text(name: str, value: str) -> bool:
    """Not so for bytes that are no UTF-8: Python holds them as what neither JSON nor a file can."""
    return can_be_passed(name) and can_be_passed(value)


def client_env(engine: Engine | None, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What an engine's command line client is started with, so that it talks to the very engine that was found."""
    if engine is None or not engine.host:
        return dict(env)
    address = "CONTAINER_HOST" if engine.name == "podman" else "DOCKER_HOST"
    return {name: value for name, value in env.items() if name != "DOCKER_CONTEXT"} | {address: engine.host}


_PASSED = (
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "BUILD_NUMBER",
)
_PASSED_PREFIXES = (
    "LC_",
    "SSL_",
    "CUDA_",
    "NVIDIA_",
    "ROCM_",
    "ROCR_",
    "HIP_",
    "HSA_",
    "NCCL_",
    "RCCL_",
    "XDG_CACHE",
)


def process_env(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the process runtime takes over from this host's environment: a short list, so that the plan can show it.

    PATH starts with the interpreter that runs madrun, so that the torchrun beside it is found.
    """
    passed = {name: value for name, value in env.items() if _is_taken_over(name) and _is_text(name, value)}
    places = [place for place in env.get("PATH", "/usr/bin:/bin").split(os.pathsep) if can_be_passed(place)]
    passed["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), *places))
    return passed


def with_variables(more: Mapping[str, str], env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This host's environment and more, for a program that madrun starts itself."""
    return {**env, **more}


def dropped(env: Mapping[str, str] = os.environ) -> list[str]:
    """Notes on variables that `process_env` would take over, were they UTF-8."""
    return [
        f"the host's variable {ascii(name)} is left out: it is not UTF-8"
        for name, value in env.items()
        if (name == "PATH" or _is_taken_over(name)) and not _is_text(name, value)
    ]


def _is_taken_over(name: str) -> bool:
    return (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and not is_secret(name)


def user_folder(kind: Literal["config", "cache"], env: Mapping[str, str] = os.environ) -> Path:
    """madrun's folder of the user (XDG Base Directory Specification 0.8): ~/.config/madrun or ~/.cache/madrun."""
    base = env.get(f"XDG_{kind.upper()}_HOME", "")
    # The specification: a path that is not absolute is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / f".{kind}") / "madrun"
