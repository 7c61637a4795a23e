"""A docker client of this host that can build with BuildKit. Looking costs up to half a second."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_ANSWER_S = 10
_FIRST_WITHOUT_OWN = 23  # from this version on BuildKit is in the buildx plugin alone


def client_program(host: str, env: Mapping[str, str] = os.environ) -> tuple[str, dict[str, str]] | None:
    """Path of the first docker client on PATH that can use BuildKit, and the environment to start it with.

    That is one with buildx, or one before 23.0, which has BuildKit built in. `host` is the engine's address.
    DOCKER_BUILDKIT=0 means: none, as it does for docker itself.
    """
    if env.get("DOCKER_BUILDKIT") == "0":
        return None
    # The builder "default" is the engine at `host` itself: others may keep images where no container starts from them.
    told = {**env, "DOCKER_BUILDKIT": "1", "BUILDX_BUILDER": "default"}
    if host:
        told["DOCKER_HOST"] = host
    for program in _programs(env.get("PATH", "")):
        if _has_buildx(program, told) or _has_own(program, told):
            return program, told
    return None


def _programs(path: str) -> Iterator[str]:
    """Each docker on PATH once."""
    seen = set()
    for folder in path.split(os.pathsep):
        program = Path(folder or ".") / "docker"
        real = program.resolve()
        if real not in seen and os.access(program, os.X_OK) and program.is_file():
            seen.add(real)
            yield str(program.absolute())


def _has_buildx(program: str, env: Mapping[str, str]) -> bool:
    return _output([program, "buildx", "version"], env) is not None


def _has_own(program: str, env: Mapping[str, str]) -> bool:
    version = _output([program, "version", "--format", "{{.Client.Version}}"], env) or ""
    major = version.partition(".")[0]
    return major.isdigit() and 18 < int(major) < _FIRST_WITHOUT_OWN


def _output(command: list[str], env: Mapping[str, str]) -> str | None:
    """What the command printed; None where it failed."""
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
