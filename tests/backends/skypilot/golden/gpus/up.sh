#!/bin/sh
# Starts the task, brings the results of node 0 here, takes the machines down, and ends with the exit code of the task.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./private.env
code=0 signal=
# A signal ends `sky launch` alone: what it started would go on, and its machines would stay up.
trap 'signal=130' HUP INT TERM
sky launch -y -c madrun-20261121t000000z-one-a1b2c3 --secret HF_TOKEN --secret MADRUN_SECRET task.yaml || code=$?
mkdir -p /repo/results
rsync -a madrun-20261121t000000z-one-a1b2c3:madrun-results/ /repo/results/ || {
  echo "no results came from madrun-20261121t000000z-one-a1b2c3; if it is up they lie in its madrun-results: bring them here, then: sky down madrun-20261121t000000z-one-a1b2c3" >&2
  exit 2
}
sky down -y madrun-20261121t000000z-one-a1b2c3
exit "${signal:-$code}"
