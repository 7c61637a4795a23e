"""The lines of the driver that run a card of a MAD repository: into its directory, then the script as bash reads it."""

from __future__ import annotations

import shlex

from madrun.spec.mad import RUN_DIRECTORY, WORKSPACE

STARTERS = {".sh": "bash", ".slurm": "bash", ".py": "python3"}


def run_lines(script: str, args: str, in_container: bool, directory: str = RUN_DIRECTORY) -> str:
    """Shell text; `args` are read by the shell in the container exactly as they stand, line breaks too."""
    place = f"{WORKSPACE}/{directory}" if in_container else f'"$box"/work/{shlex.quote(directory)}'
    starter = next((word for ending, word in STARTERS.items() if script.endswith(ending)), "bash")
    return f"cd {place} || return 97\n    eval {shlex.quote(f'{starter} {shlex.quote(script)} {args}'.rstrip(' '))}"
