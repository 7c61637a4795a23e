"""The driver: the one bash script that runs inside the container, or on the host, from start to hand-over.

It needs bash and nothing else. Its lease is its standard input: the agent writes a line at least every few
seconds, and when the lines stop or the input ends, the driver ends everything. Steps are reported in a file
beside it, so that standard output carries the script's words alone.

Lines it knows: `go` starts the script, `stop N` ends it with N tenths of a second of grace, `bye` ends a driver
whose script has ended; `stay` reports the end of the script, `stay N` ends it first, and the driver goes on;
`examine PID...` writes the stacks of these processes; `launch NAME` starts `launch/NAME.sh` on a node that holds, and
`over` ends its waiting; any other line only renews the lease.
"""

from __future__ import annotations

import shlex

from madrun.spec.masking import MASK

LEASE_S = 10.0
LEASE_GRACE_S = 2.0
# spec.context.SECRET_NAME for bash, which has no look-ahead: TOKENIZ is taken out of the name first.
_SECRETS = "TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL"

_TEMPLATE = r"""#!/usr/bin/env bash
# madrun driver for card @CARD@: reads lines from its agent, runs the script, reports steps, ends with its lease.
set -u
box=${BASH_SOURCE[0]%/*}
steps=$box/steps job= reported= rc=0 killed= killed_before=
say() { local IFS=' '; printf '%s %s\n' "${EPOCHREALTIME:-0}" "$*" >&8; }
# Opened once: a script that removes everything around it does not close the channel.
{ exec 8>>"$steps" && say driver "$BASH_VERSION"; } 2>/dev/null || {
  echo "madrun driver: root of the container cannot write $steps; name another --results directory" >&2
  exit 97
}
exec 9<> <(:)                                   # a pipe nobody writes to: the clock of nap
nap() { local _; IFS= read -r -t "$1" -u 9 _; }

export MADRUN_BOX=$box PATH=$PATH:$box/bin
hold() {                                        # waits for what the runner of node 0 starts on this node
  local name
  export MADRUN_CONSOLE=/proc/$BASHPID/fd/1
  while IFS= read -r -u 7 name && [[ $name != over ]]; do
    { bash "$box/launch/$name.sh" >"$box/launch/$name.out" 2>&1; echo "$?" >"$box/launch/$name.code"; } 7>&- &
  done
}
run_script() {
  cd "$box/work" || return 97
  @RUN@
}
ooms() {                                        # how many of our cgroup the kernel has killed for memory, into killed
  local names path file key value
  killed=
  while IFS=: read -r _ names path; do
    case ,$names, in
      ,,) set -- "/sys/fs/cgroup$path/memory.events" /sys/fs/cgroup/memory.events ;;
      *,memory,*) set -- "/sys/fs/cgroup/memory$path/memory.oom_control" /sys/fs/cgroup/memory/memory.oom_control ;;
      *) continue ;;
    esac
    for file; do
      [[ -r $file ]] || continue
      while read -r key value; do [[ $key == oom_kill ]] && killed=$value; done <"$file"
      [[ -n $killed ]] && return
    done
  done </proc/$$/cgroup
} 2>/dev/null
tell_ooms() {
  ooms
  [[ -z $job || -z $killed || -z $killed_before ]] || say oom "$((killed - killed_before))"
}
examine() {                                     # stacks of these processes, by the tool that was laid beside us
  local pid word
  for pid; do
    {
      while IFS= read -r -d '' word; do [[ $word == RANK=* ]] && echo "$word"; done <"/proc/$pid/environ"
      echo "WCHAN=$(<"/proc/$pid/wchan")"
      "$box/evidence/py-spy" dump --nonblocking --pid "$pid"
    } >"$box/evidence/$pid" 2>&1 8>&- 9>&- </dev/null &
  done
  wait
  say examined
}
begin() {
  ooms; killed_before=$killed
  say begin
  set -m                                        # the script gets a process group of its own
  # What it starts ends by a broken pipe as anywhere else: `while ...; do echo; done | head -1` would never end.
  { trap - PIPE; run_script; code=$?; say exit "$code"; exit "$code"; } </dev/null 2>&1 9>&- &
  job=$!
  set +m
}
alive() { [[ -n $job ]] && kill -0 -- "-$job" 2>/dev/null; }
check() {                                       # the script's shell may have died without a word
  [[ -n $job && -z $reported ]] || return 0
  kill -0 "$job" 2>/dev/null && return 0
  wait "$job" 2>/dev/null; rc=$?
  say gone "$rc" && reported=1                  # a full disk may have room again at the next look
}
end_job() {                                     # TERM, grace in tenths of a second, KILL
  [[ -n $job ]] || return 0
  local left=$1
  kill -TERM -- "-$job" 2>/dev/null
  while ((left-- > 0)) && alive; do nap 0.1; done
  kill -KILL -- "-$job" 2>/dev/null
  check
}
finish() {
  [[ -n $job ]] && kill -KILL -- "-$job" 2>/dev/null
  [[ $$ == 1 ]] && kill -KILL -1 2>/dev/null    # in a container of our own: what left the group ends too
  tell_ooms
  hand_over
  say end "$1"
  exit "$1"
}
hand_over() {
  [[ -n ${MADRUN_OWNER:-} ]] || return 0
  if chown -hR "$MADRUN_OWNER" "$box" 2>/dev/null; then say handed; else say not-handed; fi
}
snapshot() {                                    # what has come to us, name by name; of secrets the name alone
  local entry name upper
  while IFS= read -r -d '' entry; do
    name=${entry%%=*} upper=${entry%%=*}
    upper=${upper^^}
    [[ ${upper//TOKENIZ/} =~ @SECRETS@ ]] && entry="$name=@MASK@"
    printf '%s\0' "$entry"
  done </proc/$$/environ
}
# What keeps the ranks' output apart has to run here: a directory may be mounted so that nothing in it may be executed.
[[ ${PYTHON_EXEC:-} != "$box/rank" ]] || "$box/rank" --ready 2>/dev/null || { unset PYTHON_EXEC; say unranked; }
trap 'say signal; end_job @GRACE@; finish 143' TERM INT HUP
trap '' PIPE

missing=                                        # an engine may take a request for GPUs and give none
# Opened, not looked at: root may read and write a file that the container's device rules keep shut.
for file in ${MADRUN_DEVICES:-}; do { [[ -e $file ]] && : <>"$file"; } 2>/dev/null || missing+=" $file"; done
[[ -z $missing ]] || say "missing$missing"
lacking=
for name in ${MADRUN_PROGRAMS:-}; do                # ours in its place says whether there is something to start
  found=$(type -P -- "$name") && { [[ $found != "$box/bin/$name" ]] || "$found" --ready 2>/dev/null; } ||
    lacking+=" $name"
done
[[ -z $lacking ]] || say "lacking$lacking"
@INSIDE@
[[ -z ${MADRUN_HOLD:-} ]] || exec 7<> <(:)      # a pipe to ourselves: what is to be started here
snapshot >"$box/environment" 2>/dev/null
say ready
while IFS= read -r -t @LEASE@ line; do
  case $line in
    go) begin ;;
    stop*) say stop; end_job "${line#stop }"; finish 143 ;;
    stay) check; tell_ooms; hand_over; say end "$rc" ;;    # the script is over, its container stays to be looked at
    stay*) say stop; end_job "${line#stay }"; tell_ooms; hand_over; say end 143 ;;
    examine*) read -ra words <<<"${line#examine}"; examine "${words[@]}" & ;;
    launch*) echo "${line#launch }" >&7 ;;
    over) echo over >&7 ;;
    bye) [[ -z $job ]] || wait "$job" 2>/dev/null; check; finish "$rc" ;;    # it may be about to end
    *) check ;;
  esac
done
say lease
end_job @LEASE_GRACE@
finish 98
"""


def run_line(script: str, args: str) -> str:
    """Starts a native card's script: bash scripts need no runner. `args` reach the shell as they are written."""
    quoted = shlex.quote(script if script.startswith("/") else f"./{script}")
    prefix = "bash" if script.endswith(".sh") else "$MULTI_NODE_RUNNER"
    return f"{prefix} {quoted} {args}".rstrip()


def render(card: str, run: str, grace_s: float, reporting: bool = False, inside: str = "") -> str:
    """The driver's text; `run` is the shell text that starts the script, with the work directory as its own.

    `reporting`: the text reports steps of its own, and keeps the channel from what it starts. `inside`: shell text that
    looks at what surrounds the driver, before it is ready.
    """
    replacements = {
        "@CARD@": card,
        "@RUN@": run,
        "@GRACE@": str(_tenths(grace_s)),
        "@LEASE_GRACE@": str(_tenths(min(grace_s, LEASE_GRACE_S))),
        "@LEASE@": f"{LEASE_S:g}",
        "@SECRETS@": _SECRETS,
        "@MASK@": MASK,
        "@INSIDE@\n": f"{inside}\n" if inside else "",
    }
    text = _TEMPLATE
    for mark, value in replacements.items():
        if mark != "@RUN@":
            text = text.replace(mark, value)
    # last: args may hold any text
    return text.replace("@RUN@", run if reporting else f"{{ {held(run)}\n  }} 8>&-")


def held(run: str) -> str:
    """The shell text that runs on a node of its own, and waits on one that holds."""
    return f"if [[ -n ${{MADRUN_HOLD:-}} ]]; then hold; else\n  {run}\n  fi"


def _tenths(seconds: float) -> int:
    return round(seconds * 10)
