"""The command line: the only place with typer and rich, and the last boundary for errors."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `madrun` command; ends the process with the exit code of errors.py."""
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]):
        from madrun import __version__

        sys.stdout.write(f"madrun {__version__}\n")
        return
    from madrun.cli.app import run

    sys.exit(run(words))
