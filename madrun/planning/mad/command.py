"""The lines of the driver that run a card of a MAD repository: pre-scripts, the script as bash reads it, post-scripts.

Everything is text for a shell of its own, so that the arguments are read exactly as they stand, line breaks too, and
nothing of the driver is in their way.
"""

from __future__ import annotations

import shlex

from madrun.planning.driver import held
from madrun.spec.mad import RUN_DIRECTORY, WORKSPACE, Around, Placed
from madrun.spec.plan import BOX

STARTERS = {".sh": "bash", ".slurm": "bash", ".py": "python3"}
STEP_LIMIT_S = 600
PRE, POST, SCRIPT = "pre", "post", "script"  # the beginnings of the names of steps; `<step>.exit` carries a code
CACHE = f"{BOX}/cache"
HUB = "hub"  # below it: the cache that HF_HUB_CACHE names

_STEP = r"""  step() {                                      # NAME TEXT: reports it, and ends it after a time
    local _pid _clock _code=1 _began=$SECONDS
    [[ -z $_over ]] || return 143
    say "$1"
    set -m                                      # a group of its own, which ends as a whole
    bash -c "$2" 8>&- & _pid=$!
    trap '_over=1; kill -TERM -- "-$_pid" 2>/dev/null' TERM    # it has its grace period, too
    { exec 8>&- 6<> <(:); IFS= read -r -t @LIMIT@ -u 6 _; kill -KILL -- "-$_pid"; } >/dev/null 2>&1 & _clock=$!
    disown "$_clock"
    set +m
    # A signal ends the waiting, not what is waited for.
    {
      until wait "$_pid"; _code=$?; ((_code <= 128)) || ! kill -0 "$_pid"; do :; done
      kill -KILL -- "-$_clock"
    } 2>/dev/null
    trap - TERM
    ((_code != 137 || SECONDS - _began < @LIMIT@)) || _code=124
    [[ -z $_over ]] || _code=143                # whatever it says itself: nothing follows
    say "$1.exit" "$_code"
    return "$_code"
  }
"""

# Of a container alone: on the host the user's own files say this.
_CONTAINER = rf"""  # The checkout belongs to the user, and git reads what is another's only where it is told so.
  # What is mounted there is not the container's own, and stays as it is.
  local _at _config="${{HOME:-/root}}/.gitconfig"
  while read -r _ _ _ _ _at _; do
    [[ $_at == / || $_config/ != "$_at"/* ]] || _config=/etc/gitconfig
  done </proc/self/mountinfo
  printf '[safe]\n\tdirectory = *\n' 2>/dev/null >>"$_config"
  # As MAD has it: what was said, else what the image says, else the usual place.
  [[ ${{MAD_GPU_VENDOR-}} != AMD ]] || export ROCM_PATH="${{ROCM_PATH:-/opt/rocm}}"
  # Models are kept for the next run, unless the image or the user has a place for them.
  [[ -n ${{HF_HOME-}}${{HF_HUB_CACHE-}}${{HUGGINGFACE_HUB_CACHE-}}${{TRANSFORMERS_CACHE-}}${{XDG_CACHE_HOME-}} ||
    -d ${{HOME:-/root}}/.cache/huggingface/hub || ! -w {CACHE}/{HUB} ]] || export HF_HUB_CACHE={CACHE}/{HUB}
"""


def run_lines(
    script: str, args: str, in_container: bool, directory: str = RUN_DIRECTORY, around: Around | None = None
) -> str:
    """Shell text of the driver's `run_script`, which returns the script's exit code.

    A pre-script that fails ends the run, with its code; post-scripts run whatever became of the script, and change
    nothing of its code. `around.front` stands before the command as it is written; it may end in `&&`.
    """
    around = around or Around()
    place = shlex.quote(f"{WORKSPACE}/{directory}") if in_container else f'"$MADRUN_BOX"/work/{shlex.quote(directory)}'
    starter = next((word for ending, word in STARTERS.items() if script.endswith(ending)), "bash")
    front = f"{around.front} " if around.front.strip() else ""
    command = f"{front}{starter} {shlex.quote(script)} {args}"
    lines = [
        "local _code _over=",
        f"cd {place} || return 97",
        *(f"step {name} {_started(one)} || return" for name, one in _named(PRE, around.pre)),
        f"say {SCRIPT}",
        f"{{ {held(f'bash -c {shlex.quote(command)}')}; }} 8>&-",
        "_code=$?",
        f'say {SCRIPT}.exit "$_code"',
        *(f"step {name} {_started(one)}" for name, one in _named(POST, around.post)),
        'return "$_code"',
    ]
    steps = _STEP.replace("@LIMIT@", str(STEP_LIMIT_S)) if around.pre or around.post else ""
    head = (_CONTAINER if in_container else "") + steps
    return head.removeprefix("  ") + "  " * bool(head) + "\n  ".join(lines)


def step_paths(around: Around) -> dict[str, str]:
    """The path of each pre- and post-script, by the name of its step."""
    return {
        name: one.path for kind, many in ((PRE, around.pre), (POST, around.post)) for name, one in _named(kind, many)
    }


def _named(kind: str, steps: tuple[Placed, ...]) -> list[tuple[str, Placed]]:
    return [(f"{kind}.{number}", step) for number, step in enumerate(steps, 1)]


def _started(step: Placed) -> str:
    return shlex.quote(f"bash {shlex.quote(step.name)} {step.args}")
