#!/bin/sh
#SBATCH --job-name=madrun-one-a1b2c3
#SBATCH --nodes=2
#SBATCH --ntasks=2
#SBATCH --ntasks-per-node=1
#SBATCH --output="/repo/results/launches/case 0/job-%a.log"
#SBATCH --open-mode=append
#SBATCH --array=0-1%1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --no-requeue
#SBATCH --signal=B:USR2@90
# What SLURM runs on the first node of launch 20261121T000000Z-one-a1b2c3.
# shellcheck disable=SC2016,SC2317
set -u
case "${SLURM_ARRAY_TASK_ID:-}" in
0) folder='/repo/results/launches/case 0' ;;
1) folder='/repo/results/launches/case 1' ;;
*) echo "no task of this array" >&2; exit 2 ;;
esac
restart=${SLURM_RESTART_COUNT:-0}
attempt="$folder/attempt-$restart"
fail() { echo "madrun: error: $1" >&2; exit 2; }
note() { printf '%s\n' "$@" >>"$attempt/job.state"; }
if [ ! -r "$folder/launch.json" ] || ! mkdir -p "$attempt"; then
  fail "$folder cannot be used on $(hostname); the results (--results) have to lie where all nodes can write"
fi
before() { sed -n "s/^$1=//p" "$attempt/job.state" 2>/dev/null | tail -n 1; }
job=$(before job) code=$(before code)
if [ "${job:-${SLURM_JOB_ID:-}}" != "${SLURM_JOB_ID:-}" ]; then
  fail "$folder is what job $job ran, and a launch is run once; madrun render writes another"
fi
# A controller that is killed goes on from what it wrote down last, and may start what it has started already.
if [ -n "$code" ]; then echo "madrun: this start of job $job has ended before, with code $code" >&2; exit "$code"; fi
note "job=${SLURM_JOB_ID:-}" "name=${SLURM_JOB_NAME:-}" "host=$(hostname)" "started=$(date +%s)"
# Of a task most sites signal the first process alone, which passes it on; with this plugin all of them at once.
case $(scontrol show config 2>/dev/null | sed -n 's/^ProctrackType *= *//p') in
*linuxproc) export MADRUN_ALL_TOLD=1 ;;
*) unset MADRUN_ALL_TOLD ;;
esac
# A warning is passed on, so that the run ends in order; a SIGTERM reaches the step by itself.
child='' signalled=''
signalled() {
  if [ -n "$child" ] && [ "$1" = USR2 ]; then kill -USR2 "$child" 2>/dev/null; fi
  [ -n "$signalled" ] || note "signal=$1" "ran=$(squeue -h -j "$SLURM_JOB_ID" -o '%M %l' 2>/dev/null)"
  signalled=$1 woken=1
}
trap 'signalled TERM' TERM INT HUP
trap 'signalled USR2' USR2 USR1
unset MADRUN_NODE_RANK MADRUN_MASTER_ADDR MADRUN_LEASE
hosts=${MADRUN_HOSTS:-$(scontrol show hostnames "$SLURM_JOB_NODELIST")} || fail "scontrol knows no hosts"
list='' first='' count=0
for host in $hosts; do
  [ "$count" -lt 2 ] || break
  first=${first:-$host} list="$list${list:+,}$host" count=$((count + 1))
done
[ "$count" -eq 2 ] || fail "found $count nodes ($list) in job $SLURM_JOB_ID, allowed: 2"
note "nodes=$list"
# An address of the first node that the others reach, asked for where hosts' names are known: no loopback.
address() {
  { getent ahostsv4 "$1"; getent ahosts "$1"; } | awk '$1 !~ /^(127\.|::1$|fe80:)/ { print $1; exit }'
}
own=$(scontrol show node "$first" 2>/dev/null | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
master=$(address "${own:-$first}")
master=${master:-$(address "$first")}
[ -n "$master" ] || fail "$first has no address but a loopback one here; set multi_node_args.MASTER_ADDR"
export MADRUN_MASTER_ADDR="$master"
note "master=$master"
unset SRUN_CPUS_PER_TASK SLURM_CPUS_PER_TASK SLURM_TRES_PER_TASK SLURM_EXPORT_ENV SLURM_HINT
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --distribution=block --kill-on-bad-exit=1 --wait=60 --input=none --label --export=ALL --mpi=none --cpu-bind=none --job-name=madrun-one-a1b2c3 "--nodelist=$list" ${MADRUN_OVERLAP:+--overlap} \
  sh -c 'if [ ! -r "$1/launch.json" ]; then echo "madrun: error: $1 is not visible on $(hostname); the results (--results) have to lie where all nodes see them" >&2; exit 2; fi; exec sh "$1/step.sh"' madrun "$folder" &
child=$!
if [ -n "$signalled" ]; then kill -USR2 "$child" 2>/dev/null; fi
now='' woken=1
while [ -n "$woken" ]; do
  woken='' before=$now now=0
  wait "$child" || now=$?
  if [ "$now" -eq 127 ] && [ -n "$before" ]; then now=$before; fi
done
code=$now
child=''
# Where all tasks were told to end, and not by srun because one of them had failed, somebody outside did.
all_told() { for one in "$attempt"/node-*.state; do grep -qs '^signal=' "$one" || return 1; done; }
if [ "$code" -ne 0 ] && [ -z "$signalled" ] && all_told; then signalled TERM; fi
note "code=$code" "ended=$(date +%s)"
rm -f "$folder/private.env"
# Who asked madrun to cancel it finds it cancelled, once it has ended in order.
if [ -e "$folder/cancelled" ] && [ -z "${MADRUN_HOSTS:-}" ]; then
  trap 'kill "$child" 2>/dev/null; exit "$code"' TERM
  if scancel "$SLURM_JOB_ID"; then sleep 60 & child=$!; wait "$child"; fi
fi
exit "$code"
