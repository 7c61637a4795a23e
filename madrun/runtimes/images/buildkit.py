"""Builds with BuildKit, which only the docker client can use: as a child that ends with this process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO

from madrun.runtimes.images.archive import archive
from madrun.runtimes.images.place import BuildKitClient, Order
from madrun.runtimes.images.watch import Pace, Watch
from madrun.spec.context import is_secret

# PR_SET_PDEATHSIG (prctl(2)): a killed madrun leaves no build behind. The parent may have gone before the call.
_GUARD = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)
_NOISE = re.compile(r"#\d+ (sha256:[0-9a-f]{64}( .*)?|transferring .*|DONE \d.*|\.\.\.)|")
_STEP = re.compile(r"#\d+ (sha256:[0-9a-f]{64} [\d.]+\S+ / .*|extracting .*)")


def build(client: BuildKitClient, order: Order, watch: Watch) -> tuple[bool, list[str]]:
    """Whether the image was built, and the lines that the client printed."""
    image = order.image
    hidden = frozenset(name for name in image.build_args if is_secret(name) or name in watch.secrets)
    secret = {name: image.build_args[name] for name in hidden}
    secret |= {name: watch.secrets[name] for name in image.secrets if name in watch.secrets}
    guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid())]
    with archive(order.context, {image.dockerfile: order.text}) as content:
        child = subprocess.Popen(
            [*guard, *arguments(client.program, order, hidden)],
            stdin=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**client.env, **secret},
            start_new_session=True,  # so that its plugins end with it
        )
    assert child.stdout is not None
    try:
        with child.stdout as output, watch.stop.ends(lambda: _kill(child)):
            lines = _read(output, watch)
            return child.wait() == 0, lines
    finally:
        _kill(child)
        child.wait()


def arguments(program: str, order: Order, hidden: frozenset[str]) -> list[str]:
    """The command; the context comes on its standard input. Secrets are named alone: their values are variables."""
    image = order.image
    words = [
        program,
        "build",
        "--progress=plain",
        "--network=host",
        f"--file={image.dockerfile}",
        f"--tag={image.name}",
    ]
    words += [f"--label={name}={value}" for name, value in order.labels.items()]
    for name, value in image.build_args.items():
        words.append(f"--build-arg={name}" if name in hidden else f"--build-arg={name}={value}")
    words += [f"--secret=id={name},env={name}" for name in image.secrets]
    return [*words, *(["--no-cache"] if order.fresh else []), "-"]


def _read(output: IO[bytes], watch: Watch) -> list[str]:
    """The lines, until the client ends; what it says of transfers is shown every few seconds."""
    lines: list[str] = []
    pace = Pace()
    for raw in output:
        text = raw.decode("utf-8", "replace")
        bare = text.strip()
        if _STEP.fullmatch(bare):
            _ = watch.line(text) if pace.due() else watch.detail(text)
        elif _NOISE.fullmatch(bare):
            watch.detail(text)
        else:
            lines.append(watch.line(text))
    return lines


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The engine ends a build whose client has gone."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
