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
# Variables of its own begin with _: a name that is the user's would reach the script with another value.
export MADRUN_BOX=${BASH_SOURCE[0]%/*}
_steps=$MADRUN_BOX/steps _job= _reported= _signalled= _rc=0 _killed= _killed_before=
say() { local IFS=' '; printf '%s %s\n' "${EPOCHREALTIME:-0}" "$*" >&8; }
# Opened once: a script that removes everything around it does not close the channel.
{ exec 8>>"$_steps" && say driver "$BASH_VERSION"; } 2>/dev/null || {
  echo "madrun driver: root of the container cannot write $_steps; name another --results directory" >&2
  exit 97
}
exec 9<> <(:)                                   # a pipe nobody writes to: the clock of nap
nap() { local _; IFS= read -r -t "$1" -u 9 _; }

export PATH=$PATH:$MADRUN_BOX/bin
hold() {                                        # waits for what the runner of node 0 starts on this node
  local MADRUN_START                            # a name that is not the user's, for what is started sees all others
  export MADRUN_CONSOLE=/proc/$BASHPID/fd/1
  while IFS= read -r -u 7 MADRUN_START && [[ $MADRUN_START != over ]]; do
    set -- "$MADRUN_BOX/launch/$MADRUN_START"
    { bash "$1.sh" >"$1.out" 2>&1; echo "$?" >"$1.code"; } 7>&- &
  done
}
run_script() {
  cd "$MADRUN_BOX/work" || return 97
  @RUN@
}
ooms() {                                        # how many of our cgroup the kernel has killed for memory, into _killed
  local names path file key value
  _killed=
  while IFS=: read -r _ names path; do
    case ,$names, in
      ,,) set -- "/sys/fs/cgroup$path/memory.events" /sys/fs/cgroup/memory.events ;;
      *,memory,*) set -- "/sys/fs/cgroup/memory$path/memory.oom_control" /sys/fs/cgroup/memory/memory.oom_control ;;
      *) continue ;;
    esac
    for file; do
      [[ -r $file ]] || continue
      while read -r key value; do [[ $key == oom_kill ]] && _killed=$value; done <"$file"
      [[ -n $_killed ]] && return
    done
  done </proc/$$/cgroup
} 2>/dev/null
tell_ooms() {
  ooms
  [[ -z $_job || -z $_killed || -z $_killed_before ]] || say oom "$((_killed - _killed_before))"
}
examine() {                                     # stacks of these processes, by the tool that was laid beside us
  local pid word
  for pid; do
    {
      while IFS= read -r -d '' word; do [[ $word == RANK=* ]] && echo "$word"; done <"/proc/$pid/environ"
      echo "WCHAN=$(<"/proc/$pid/wchan")"
      "$MADRUN_BOX/evidence/py-spy" dump --nonblocking --pid "$pid"
    } >"$MADRUN_BOX/evidence/$pid" 2>&1 8>&- 9>&- </dev/null &
  done
  wait
  say examined
}
begin() {
  ooms; _killed_before=$_killed
  say begin
  set -m                                        # the script gets a process group of its own
  # What it starts ends by a broken pipe as anywhere else: `while ...; do echo; done | head -1` would never end.
  { trap - PIPE; run_script; code=$?; say exit "$code"; exit "$code"; } </dev/null 2>&1 9>&- &
  _job=$!
  set +m
}
alive() { [[ -n $_job ]] && kill -0 -- "-$_job" 2>/dev/null; }
check() {                                       # the script's shell may have died without a word
  [[ -n $_job && -z $_reported ]] || return 0
  kill -0 "$_job" 2>/dev/null && return 0
  collect
}
collect() {                                     # the code of the script's shell, which has ended or is about to
  [[ -n $_job && -z $_reported ]] || return 0
  wait "$_job" 2>/dev/null; _rc=$?
  [[ -z $_signalled ]] || return 0              # it may be the signal's number: the end comes anyhow
  say gone "$_rc" && _reported=1                # a full disk may have room again at the next look
}
end_job() {                                     # TERM, grace in tenths of a second, KILL
  [[ -n $_job ]] || return 0
  local left=$1
  kill -TERM -- "-$_job" 2>/dev/null
  while ((left-- > 0)) && alive; do nap 0.1; done
  kill -KILL -- "-$_job" 2>/dev/null
  check
}
finish() {
  [[ -n $_job ]] && kill -KILL -- "-$_job" 2>/dev/null
  [[ $$ == 1 ]] && kill -KILL -1 2>/dev/null    # in a container of our own: what left the group ends too
  tell_ooms
  hand_over
  say end "$1"
  exit "$1"
}
hand_over() {
  [[ -n ${MADRUN_OWNER:-} ]] || return 0
  if chown -hR "$MADRUN_OWNER" "$MADRUN_BOX" 2>/dev/null; then say handed; else say not-handed; fi
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
[[ ${PYTHON_EXEC:-} != "$MADRUN_BOX/rank" ]] || "$MADRUN_BOX/rank" --ready 2>/dev/null ||
  { unset PYTHON_EXEC; say unranked; }
# The end of the input ends the loop below. It is not done here: bash collects nobody in a trap that came while it
# reads, and what is not collected counts as alive, so that the grace period would pass in full.
trap 'say signal; _signalled=1; exec </dev/null' TERM INT HUP
trap '' PIPE

_missing=                                       # an engine may take a request for GPUs and give none
# Opened, not looked at: root may read and write a file that the container's device rules keep shut.
for _file in ${MADRUN_DEVICES:-}; do { [[ -e $_file ]] && : <>"$_file"; } 2>/dev/null || _missing+=" $_file"; done
[[ -z $_missing ]] || say "missing$_missing"
look_for() {                                    # PROGRAM...: ours in its place says whether there is something to start
  local name found lacking=
  for name; do
    found=$(type -P -- "$name") && { [[ $found != "$MADRUN_BOX/bin/$name" ]] || "$found" --ready 2>/dev/null; } ||
      lacking+=" $name"
  done
  [[ -z $lacking ]] || say "lacking$lacking"
}
look_for ${MADRUN_PROGRAMS:-}
@INSIDE@
[[ -z ${MADRUN_HOLD:-} ]] || exec 7<> <(:)      # a pipe to ourselves: what is to be started here
snapshot >"$MADRUN_BOX/environment" 2>/dev/null
say ready
while IFS= read -r -t @LEASE@ _line; do
  case $_line in
    go) begin ;;
    stop*) say stop; end_job "${_line#stop }"; finish 143 ;;
    stay) collect; tell_ooms; hand_over; say end "$_rc" ;;  # the script is over, its container stays to be looked at
    stay*) say stop; end_job "${_line#stay }"; tell_ooms; hand_over; say end 143 ;;
    examine*) read -ra _words <<<"${_line#examine}"; examine "${_words[@]}" & ;;
    launch*) echo "${_line#launch }" >&7 ;;
    over) echo over >&7 ;;
    bye) collect; finish "$_rc" ;;
    *) check ;;
  esac
done
[[ -z $_signalled ]] || { end_job @GRACE@; finish 143; }
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
