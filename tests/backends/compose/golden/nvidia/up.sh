#!/bin/sh
# Brings up all nodes, shows what they print, takes everything down again, and ends with the exit code of node 0.
set -eu
cd "$(dirname "$0")"
if docker compose version >/dev/null 2>&1; then set -- docker compose; else set -- docker-compose; fi
set -- "$@" -p madrun-20261121t000000z-one-a1b2c3 -f compose.yaml
mkdir -p /repo/results
code=0 signal=
# Compose gets a terminal's signals too, and ends its services in order; docker-compose 1.29 then says 0.
trap 'signal=130' HUP INT TERM
"$@" up --abort-on-container-exit --exit-code-from node-0 || code=$?
"$@" down --timeout 30 || true
exit "${signal:-$code}"
