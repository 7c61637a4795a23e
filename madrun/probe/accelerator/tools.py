"""The vendors' tools and libraries: started for their output alone, and never for long."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

Run = Callable[[Sequence[str]], "str | None"]
_LIMIT_S = 5.0
# Without persistence mode nvidia-smi first brings every GPU up: seconds for each of them.
_LIMITS_S = {"nvidia-smi": 60.0}
# nvidia-smi 6, "a query to find an object was unsuccessful": its answer is that there are no GPUs.
_ANSWERED = (0, 6)


class Unanswered(Exception):
    """Why a tool gave no answer, in a few words."""


def run_tool(argv: Sequence[str], limit: float | None = None) -> str | None:
    """What the tool wrote to stdout; None where it is not installed, failed or took more than `limit` seconds.

    The limit of nvidia-smi is 60 s, that of the others 5 s.
    """
    try:
        return ask_tool(argv, limit)
    except Unanswered:
        return None


def ask_tool(argv: Sequence[str], limit: float | None = None) -> str:
    """What `run_tool` gives; `Unanswered` says why there is nothing."""
    import subprocess

    limit = _LIMITS_S.get(argv[0], _LIMIT_S) if limit is None else limit
    try:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_env()
        )
    except OSError as error:
        raise Unanswered(f"{argv[0]}: {error.strerror}") from None
    try:
        output = process.communicate(timeout=limit)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        # A tool that hangs inside the driver cannot be killed either: it is not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        raise Unanswered(f"{argv[0]} did not answer within {limit:g} s") from None
    if process.returncode not in _ANSWERED:
        said = (output.strip().splitlines() or ["it said nothing"])[0][:200]
        raise Unanswered(f"{argv[0]} failed with {process.returncode}: {said}")
    return output


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
