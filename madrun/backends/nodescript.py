"""The script that every node of a launch runs, under whatever backend: plain sh, the same text everywhere."""

from __future__ import annotations

import shlex

from madrun.spec.launch import LAUNCH, PREFIX, PRIVATE, PROGRAM, REPOSITORY, RESULTS, Launch

# The rank is what the backend says, else what its scheduler does.
_RANKS = ("SLURM_NODEID", "JOB_COMPLETION_INDEX", "SKYPILOT_NODE_RANK")
_MODULES = """if ! command -v module >/dev/null 2>&1; then
  for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh /usr/share/modules/init/sh /usr/share/lmod/lmod/init/sh
  do
    # shellcheck source=/dev/null
    if [ -r "$file" ]; then . "$file"; break; fi
  done
fi
module load {names} || {{ echo madrun: error: module load {names} failed on "$(hostname)" >&2; exit 2; }}
"""
_TEXT = """#!/bin/sh
# What one node does in launch {id}: the same on all nodes, which differ by MADRUN_NODE_RANK alone.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=/dev/null
if [ -e "$folder/{private}" ]; then . "$folder/{private}"; fi
{exports}
{rank}
repository={repository} results={results}
{modules}cd "${{{repository_variable}:-$repository}}"
set -- {words}
if [ -n "${{{program}:-}}" ]; then set -- "${program}" "$@"
elif [ -x {python} ] && {python} -c 'import madrun' 2>/dev/null; then set -- {python} -m madrun "$@"
else set -- madrun "$@"; fi
exec "$@" {given}--results "${{{results_variable}:-$results}}"
"""


def node_script(launch: Launch) -> str:
    """The text; it needs no program but sh, dirname and madrun, and no variable but those of spec.launch."""
    exports = {LAUNCH: f"{launch.backend}:{launch.id}", f"{PREFIX}NNODES": str(launch.nnodes)}
    exports |= {f"{PREFIX}MASTER_PORT": str(launch.master_port), f"{PREFIX}CONTROL_PORT": str(launch.control_port)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in {**exports, **launch.env}.items()]
    ranks = "".join(f"${{{name}:-" for name in _RANKS) + "0" + "}" * len(_RANKS)
    given = "".join(f'{flag} "$folder"/{shlex.quote(name)} ' for flag, name in launch.given.items())
    names = " ".join(map(shlex.quote, launch.modules))
    return _TEXT.format(
        id=launch.id,
        private=PRIVATE,
        exports="\n".join(lines),
        rank=f'export {PREFIX}NODE_RANK="${{{PREFIX}NODE_RANK:-{ranks}}}"',
        modules=_MODULES.format(names=names) if names else "",
        repository_variable=REPOSITORY,
        repository=shlex.quote(launch.repository),
        words=shlex.join(("run", *launch.words)),
        program=PROGRAM,
        python=shlex.quote(launch.python),
        given=given,
        results_variable=RESULTS,
        results=shlex.quote(launch.results),
    )


def private_text(values: dict[str, str]) -> str:
    """The private file: variables that no other file and no command line may show."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
