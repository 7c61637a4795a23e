#!/bin/sh
# What one node does in launch 20261121T000000Z-one-a1b2c3: the same on all nodes, which differ by MADRUN_NODE_RANK alone.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=/dev/null
if [ -e "$folder/private.env" ]; then . "$folder/private.env"; fi
export MADRUN_LAUNCH=slurm:20261121T000000Z-one-a1b2c3
export MADRUN_NNODES=2
export MADRUN_MASTER_PORT=20468
export MADRUN_CONTROL_PORT=20469
export MADRUN_COMMAND='["madrun", "run"]'
export MADRUN_NODE_RANK="${MADRUN_NODE_RANK:-${SLURM_NODEID:-${JOB_COMPLETION_INDEX:-${SKYPILOT_NODE_RANK:-0}}}}"
repository=/repo results=/repo/results
if ! command -v module >/dev/null 2>&1; then
  for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh /usr/share/modules/init/sh /usr/share/lmod/lmod/init/sh
  do
    # shellcheck source=/dev/null
    if [ -r "$file" ]; then . "$file"; break; fi
  done
fi
module load rocm/6.4 || { echo madrun: error: module load rocm/6.4 failed on "$(hostname)" >&2; exit 2; }
cd "${MADRUN_REPOSITORY:-$repository}"
set -- run --set multi_node_args.NCCL_SOCKET_IFNAME=ib0 --set multi_node_args.GLOO_SOCKET_IFNAME=ib0 --tags one --arg '--lr 1'
if [ -n "${MADRUN_PROGRAM:-}" ]; then set -- "$MADRUN_PROGRAM" "$@"
elif [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import madrun' 2>/dev/null; then set -- /usr/bin/python3 -m madrun "$@"
else set -- madrun "$@"; fi
exec "$@" --site "$folder"/site.yaml --results "${MADRUN_RESULTS:-$results}"
