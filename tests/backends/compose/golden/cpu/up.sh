#!/bin/sh
# Brings up all nodes, shows what they print, takes everything down again, and ends with the exit code of node 0.
set -eu
cd "$(dirname "$0")"
if docker compose version >/dev/null 2>&1; then set -- docker compose; else set -- docker-compose; fi
set -- "$@" -p madrun-20261121t000000z-one-a1b2c3 -f compose.yaml
mkdir -p /repo/results
# Whoever signals this script, Compose is told once, in a session of its own, and ends its services in order;
# docker-compose 1.29 then says 0.
child='' signal=''
trap 'signal=130; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' HUP INT TERM
setsid "$@" up --abort-on-container-exit --exit-code-from node-0 </dev/null &
child=$!
while :; do
  code=0
  wait "$child" || code=$?
  kill -0 "$child" 2>/dev/null || break
done
child=''
setsid "$@" down --timeout 30 || true
exit "${signal:-$code}"
