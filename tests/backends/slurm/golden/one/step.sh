#!/bin/sh
# The task of one node in launch 20261121T000000Z-one-a1b2c3: runs what the node is to run, and leaves beside it what became of that.
# shellcheck disable=SC1091,SC2317
set -u
folder=/repo/results/launches/20261121T000000Z-one-a1b2c3
rank=${SLURM_PROCID:-0}
name="$folder/attempt-${SLURM_RESTART_COUNT:-0}/node-$rank"
note() { printf '%s\n' "$@" >>"$name.state"; }
note "host=${SLURMD_NODENAME:-$(hostname)}" "step=${SLURM_STEP_ID:-}" "started=$(date +%s)"
export MADRUN_NODE_RANK="$rank"
repository=/repo
if [ ! -d "$repository" ]; then
  said="${SLURMD_NODENAME:-$(hostname)} does not see the repository $repository, which all nodes have to share"
  echo "madrun: error: $said" >>"$name.err"
fi
# Whatever ends the task, madrun is told once: in a session of its own no signal to a group reaches it.
child='' told='' code=''
told() {
  [ -n "$told$code" ] || note "signal=$1"
  if [ "$1" = TERM ] && [ -n "${MADRUN_ALL_TOLD:-}" ]; then told=TERM; fi
  if [ -z "$told" ] && [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
  told=$1 woken=1
}
trap 'told TERM' TERM INT HUP
trap 'told USR2' USR1 USR2
(trap '' USR1 USR2; exec setsid sh "$folder/node.sh") >>"$name.out" 2>>"$name.err" </dev/null &
child=$!
if [ -n "$told" ]; then kill -TERM "$child" 2>/dev/null; fi
now='' woken=1
while [ -n "$woken" ]; do
  woken='' before=$now now=0
  wait "$child" || now=$?
  if [ "$now" -eq 127 ] && [ -n "$before" ]; then now=$before; fi
done
code=$now
note "code=$code" "ended=$(date +%s)"
# srun ends the step at the first code that is not 0; the other nodes may be bringing their files home.
tries=0
while [ "$code" -ne 0 ] && [ -z "$told" ] && [ "$tries" -lt 60 ]; do
  [ "$(cat "${name%-*}"-*.state | grep -c '^code=')" -lt 1 ] || break
  sleep 0.5; tries=$((tries + 1))
done
exit "$code"
