"""The command line: the only place with typer and rich, and the last boundary for errors."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from madrun.cli.answer import write_out

# Start-up allocates much and frees little: the collector would walk the same objects again and again.
_ALLOCATIONS_BETWEEN_COLLECTIONS = 150_000


def main() -> None:
    """Entry point of the `madrun` command; ends the process with the exit code of errors.py."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - it lives as long as the process
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]):
        from madrun import __version__

        sys.stdout.write(f"madrun {__version__}\n")
        return
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it reads every installed package's entry points
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    try:
        from madrun.cli.app import run

        code = run(words)
    except KeyboardInterrupt:
        code = 130
    for stream in (sys.stdout, sys.stderr):
        code = write_out(stream, "", code)
    os._exit(code)  # every file is closed and every child has ended; taking the interpreter apart costs 30 ms
