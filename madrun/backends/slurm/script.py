"""The job script and the script of each node's task, as SLURM runs them: plain sh, no program that a node may lack.

Measured with SLURM 22.05: `srun --unbuffered` gives every task a pseudo terminal, so that its lines end in CR LF and it
takes itself for a terminal; it is left out, for what madrun prints is never held back.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from madrun.backends.slurm.header import header, job_name
from madrun.backends.slurm.settings import SlurmSettings
from madrun.spec.launch import FILE, PREFIX, PRIVATE, SCRIPT, Launch

JOB, STEP = "job.sh", "step.sh"
WAIT_S = 60  # how long srun waits for the other tasks once one has ended
# A trap ends `wait` before its time, and the shell may have reaped the child meanwhile: asked again it knows the code.
_WAIT = """now='' woken=1
while [ -n "$woken" ]; do
  woken='' before=$now now=0
  wait "$child" || now=$?
  if [ "$now" -eq 127 ] && [ -n "$before" ]; then now=$before; fi
done
code=$now
"""
_JOB = """{header}
# What SLURM runs on the first node of launch {id}.
# shellcheck disable=SC2016,SC2317
set -u
{folder}
{restarts}
attempt="$folder/attempt-$restart"
fail() {{ echo "madrun: error: $1" >&2; exit 2; }}
note() {{ printf '%s\\n' "$@" >>"$attempt/job.state"; }}
if [ ! -r "$folder/{file}" ] || ! mkdir -p "$attempt"; then
  fail "$folder cannot be used on $(hostname); the results (--results) have to lie where all nodes can write"
fi
before() {{ sed -n "s/^$1=//p" "$attempt/job.state" 2>/dev/null | tail -n 1; }}
job=$(before job) code=$(before code)
if [ "${{job:-${{SLURM_JOB_ID:-}}}}" != "${{SLURM_JOB_ID:-}}" ]; then
  fail "$folder is what job $job ran, and a launch is run once; madrun render writes another"
fi
# A controller that is killed goes on from what it wrote down last, and may start what it has started already.
if [ -n "$code" ]; then echo "madrun: this start of job $job has ended before, with code $code" >&2; exit "$code"; fi
note "job=${{SLURM_JOB_ID:-}}" "name=${{SLURM_JOB_NAME:-}}" "host=$(hostname)" "started=$(date +%s)"
# Of a task most sites signal the first process alone, which passes it on; with this plugin all of them at once.
case $(scontrol show config 2>/dev/null | sed -n 's/^ProctrackType *= *//p') in
*linuxproc) export MADRUN_ALL_TOLD=1 ;;
*) unset MADRUN_ALL_TOLD ;;
esac
# A warning is passed on, so that the run ends in order{again}.
child='' signalled=''
signalled() {{
  if [ -n "$child" ] && {passed}; then kill -USR2 "$child" 2>/dev/null; fi
  [ -n "$signalled" ] || note "signal=$1" "ran=$(squeue -h -j "$SLURM_JOB_ID" -o '%M %l' 2>/dev/null)"
  signalled=$1 woken=1
}}
trap 'signalled TERM' TERM INT HUP
trap 'signalled USR2' USR2 USR1
unset MADRUN_NODE_RANK MADRUN_MASTER_ADDR MADRUN_LEASE
{body}
child=$!
if [ -n "$signalled" ]; then kill -USR2 "$child" 2>/dev/null; fi
{wait}child=''
# Where all tasks were told to end, and not by srun because one of them had failed, somebody outside did.
all_told() {{ for one in "$attempt"/node-*.state; do grep -qs '^signal=' "$one" || return 1; done; }}
if [ "$code" -ne 0 ] && [ -z "$signalled" ] && all_told; then signalled TERM; fi
{end}"""
_HOSTS = """hosts=${{MADRUN_HOSTS:-$(scontrol show hostnames "$SLURM_JOB_NODELIST")}} || fail "scontrol knows no hosts"
list='' first='' count=0
for host in $hosts; do
  [ "$count" -lt {nodes} ] || break
  first=${{first:-$host}} list="$list${{list:+,}}$host" count=$((count + 1))
done
[ "$count" -eq {nodes} ] || fail "found $count nodes ($list) in job $SLURM_JOB_ID, allowed: {nodes}"
note "nodes=$list"
"""
_MASTER = """# An address of the first node that the others reach, asked for where hosts' names are known: no loopback.
address() {
  { getent ahostsv4 "$1"; getent ahosts "$1"; } | awk '$1 !~ /^(127\\.|::1$|fe80:)/ { print $1; exit }'
}
own=$(scontrol show node "$first" 2>/dev/null | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
master=$(address "${own:-$first}")
master=${master:-$(address "$first")}
[ -n "$master" ] || fail "$first has no address but a loopback one here; set multi_node_args.MASTER_ADDR"
export MADRUN_MASTER_ADDR="$master"
note "master=$master"
"""
_GIVEN = 'export MADRUN_MASTER_ADDR={master}\nnote "master=$MADRUN_MASTER_ADDR"\n'
# The words of the step: $1 is the folder.
_VISIBLE = (
    f'if [ ! -r "$1/{FILE}" ]; then echo "madrun: error: $1 is not visible on $(hostname); the results (--results) '
    f'have to lie where all nodes see them" >&2; exit 2; fi; exec sh "$1/{STEP}"'
)
_PLAIN_END = """note "code=$code" "ended=$(date +%s)"
rm -f "$folder/{private}"
# Who asked madrun to cancel it finds it cancelled, once it has ended in order.
if [ -e "$folder/cancelled" ] && [ -z "${{MADRUN_HOSTS:-}}" ]; then
  trap 'kill "$child" 2>/dev/null; exit "$code"' TERM
  if scancel "$SLURM_JOB_ID"; then sleep 60 & child=$!; wait "$child"; fi
fi
exit "$code"
"""
# At its time limit a job would come to the same limit again.
_REQUEUE = """if [ -n "$signalled" ] && [ "$code" -ne 0 ] && [ "$restart" -lt {most} ] &&
  ! [ -e "$folder/cancelled" ] && squeue -h -j "$SLURM_JOB_ID" -o '%M %l' 2>/dev/null | awk '
    function seconds(text, days, parts, n, i, sum) {{
      n = split(text, days, "-"); sum = 0
      for (i = 1; i <= split(days[n], parts, ":"); i++) sum = sum * 60 + parts[i]
      return sum + (n > 1 ? days[1] * 86400 : 0)
    }}
    {{ limit = seconds($2); exit (limit > 0 && seconds($1) + {margin} >= limit) }}'; then
  note "requeued=$code" "ended=$(date +%s)"
  if scontrol requeue "$SLURM_JOB_ID"; then exit "$code"; fi
fi
"""
_STEP = """#!/bin/sh
# The task of one node in launch {id}: runs what the node is to run, and leaves beside it what became of that.
# shellcheck disable=SC1091,SC2317
set -u
folder={folder}
rank=${{SLURM_PROCID:-0}}
name="$folder/attempt-${{SLURM_RESTART_COUNT:-0}}/node-$rank"
note() {{ printf '%s\\n' "$@" >>"$name.state"; }}
note "host=${{SLURMD_NODENAME:-$(hostname)}}" "step=${{SLURM_STEP_ID:-}}" "started=$(date +%s)"
{variables}
# Whatever ends the task, madrun is told once: in a session of its own no signal to a group reaches it.
child='' told='' code=''
told() {{
  [ -n "$told$code" ] || note "signal=$1"
  if [ "$1" = TERM ] && [ -n "${{MADRUN_ALL_TOLD:-}}" ]; then told=TERM; fi
  if [ -z "$told" ] && [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
  told=$1 woken=1
}}
trap 'told TERM' TERM INT HUP
trap 'told USR2' USR1 USR2
(trap '' USR1 USR2; exec setsid {words}) >>"$name.out" 2>>"$name.err" </dev/null &
child=$!
if [ -n "$told" ]; then kill -TERM "$child" 2>/dev/null; fi
{wait}note "code=$code" "ended=$(date +%s)"
# srun ends the step at the first code that is not 0; the other nodes may be bringing their files home.
tries=0
while [ "$code" -ne 0 ] && [ -z "$told" ] && [ "$tries" -lt {tries} ]; do
  [ "$(cat "${{name%-*}}"-*.state | grep -c '^code=')" -lt {nodes} ] || break
  sleep 0.5; tries=$((tries + 1))
done
exit "$code"
"""
_OWN_NODE = """export {prefix}NODE_RANK="$rank"
repository={repository}
if [ ! -d "$repository" ]; then
  said="${{SLURMD_NODENAME:-$(hostname)}} does not see the repository $repository, which all nodes have to share"
  echo "madrun: error: $said" >>"$name.err"
fi"""
_TRIES = 60  # of half a second


def job_script(launch: Launch, settings: SlurmSettings, srun: Sequence[str] = ()) -> str:
    """The whole script; its exit code is that of the step. `srun`: words of what holds the nodes' containers."""
    return _script(header(launch, settings), _folder(launch), nodes_body(launch, settings, srun), settings, launch.id)


def local_script(launch: Launch, settings: SlurmSettings) -> str:
    """As `job_script`, but the one task runs beside the script, and starts steps of its own."""
    body = f'SLURM_PROCID=0 sh "$folder/{STEP}" &'
    return _script(header(launch, settings), _folder(launch), body, settings, launch.id, local=True)


def array_script(launches: Sequence[Launch], settings: SlurmSettings, srun: Sequence[str] = ()) -> str:
    """One task of an array for each launch, all of one number of nodes; at most `slurm.array_limit` at a time."""
    first = launches[0]
    limit = f"%{settings.array_limit}" if settings.array_limit else ""
    cases = "\n".join(f"{number}) {_folder(one)} ;;" for number, one in enumerate(launches))
    folder = f'case "${{SLURM_ARRAY_TASK_ID:-}}" in\n{cases}\n*) echo "no task of this array" >&2; exit 2 ;;\nesac'
    head = header(first, settings, f"0-{len(launches) - 1}{limit}")
    return _script(head, folder, nodes_body(first, settings, srun), settings, first.id)


def step_script(launch: Launch, words: Sequence[str] = (), front: Sequence[str] = ()) -> str:
    """What each node's task runs: the launch's script behind the words of `front`, else the one line of `words`."""
    own = f'{shlex.join(front)} sh "$folder/{SCRIPT}"'.lstrip()
    private = f'if [ -r "$folder/{PRIVATE}" ]; then . "$folder/{PRIVATE}"; fi'
    return _STEP.format(
        id=launch.id,
        folder=shlex.quote(launch.folder),
        variables=private if words else _OWN_NODE.format(prefix=PREFIX, repository=shlex.quote(launch.repository)),
        words=shlex.join(words) if words else own,
        wait=_WAIT,
        nodes=1 if words else launch.nnodes,
        tries=_TRIES,
    )


def nodes_body(launch: Launch, settings: SlurmSettings, words: Sequence[str]) -> str:
    """From the allocation's hosts to the step on all of them, left running in the background."""
    master = _GIVEN.format(master=shlex.quote(launch.master_addr)) if launch.master_addr else _MASTER
    cpus = [f"--cpus-per-task={settings.cpus_per_task}"] if settings.cpus_per_task else []
    options = [
        *(f"--nodes={launch.nnodes}", f"--ntasks={launch.nnodes}", "--ntasks-per-node=1"),
        *("--distribution=block", "--kill-on-bad-exit=1", f"--wait={WAIT_S}", "--input=none", "--label"),
        *("--export=ALL", "--mpi=none", "--cpu-bind=none", f"--job-name={job_name(launch)}"),
        *(*cpus, *settings.srun, *words),
    ]
    return (
        f"{_HOSTS.format(nodes=launch.nnodes)}{master if launch.nnodes > 1 else ''}"
        # The step takes what it is given here, not what the user's shell or the site has set for steps.
        "unset SRUN_CPUS_PER_TASK SLURM_CPUS_PER_TASK SLURM_TRES_PER_TASK SLURM_EXPORT_ENV SLURM_HINT\n"
        f'srun {shlex.join(options)} "--nodelist=$list" ${{MADRUN_OVERLAP:+--overlap}} \\\n'
        f'  sh -c {shlex.quote(_VISIBLE)} madrun "$folder" &'
    )


def _script(head: str, folder: str, body: str, settings: SlurmSettings, launch_id: str, *, local: bool = False) -> str:
    """`local`: what runs is of the batch script's own, so that no signal to the job's steps reaches it."""
    margin = settings.signal_s + 90  # SLURM may send its signal a minute early (sbatch(1), --signal)
    requeue = _REQUEUE.format(most=settings.max_restarts, margin=margin) if settings.requeue else ""
    return _JOB.format(
        header=head,
        id=launch_id,
        folder=folder,
        again="" if local else "; a SIGTERM reaches the step by itself",
        passed='{ [ "$1" = USR2 ] || [ -z "${MADRUN_ALL_TOLD:-}" ]; }' if local else '[ "$1" = USR2 ]',
        restarts="restart=${SLURM_RESTART_COUNT:-0}",
        file=FILE,
        body=body,
        wait=_WAIT,
        end=requeue + _PLAIN_END.format(private=PRIVATE),
    )


def _folder(launch: Launch) -> str:
    return f"folder={shlex.quote(launch.folder)}"
