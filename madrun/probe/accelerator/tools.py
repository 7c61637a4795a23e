"""The vendors' tools and libraries: started for their output alone, and never for long."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

Run = Callable[[Sequence[str]], "str | None"]
_LIMIT_S = 5.0


def run_tool(argv: Sequence[str], limit: float = _LIMIT_S) -> str | None:
    """What the tool wrote to stdout; None where it is not installed, failed or took more than `limit` seconds."""
    import subprocess

    try:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_env()
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        # A tool that hangs inside the driver cannot be killed either: it is not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        return None
    return output.decode(errors="replace") if process.returncode == 0 else None


def nvml_binding() -> object | None:
    """The module `pynvml`, None where it is not installed."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older package of the same module name announces its end
        try:
            import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            return None
    module: object = pynvml
    return module


def _env() -> dict[str, str]:
    """The C locale; and ROCm's own folder, which is often on no PATH, as the last of them."""
    rocm = os.environ.get("ROCM_PATH") or "/opt/rocm"
    path = os.environ.get("PATH") or os.defpath
    return {**os.environ, "LC_ALL": "C", "PATH": f"{path}{os.pathsep}{rocm}/bin"}
