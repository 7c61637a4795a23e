"""One JSON file that says everything about a run: what was asked, on what, what came out. For machines."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from measure import Check

PREFIXES = ("NCCL_", "RCCL_", "TORCH_", "PYTORCH_", "GLOO_", "CUDA_", "HIP_", "ROCR_", "HSA_", "OMP_", "MIOPEN_")
SECRET = ("TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL")


def describe_environment(device: torch.device, env: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Versions, device and the variables that steer the libraries; a variable that may hold a secret is left out."""
    steering = {
        name: value
        for name, value in sorted(env.items())
        if name.startswith(PREFIXES) and not any(word in name for word in SECRET)
    }
    found: dict[str, object] = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "triton": _version("triton"),
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "argv": sys.argv,
        "env": steering,
    }
    if device.type == "cuda":
        found["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version())
    return found


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def judge(checks: Sequence[Check]) -> dict[str, object]:
    """Status VALID or INVALID, with the failed checks in words."""
    failed = [str(check) for check in checks if not check.passed]
    return {"status": "INVALID" if failed else "VALID", "invalid_reason": failed}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write the file whole or not at all. A number that is not finite becomes null: JSON has no NaN."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(_finite(content), indent=2) + "\n")
    temporary.replace(path)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
