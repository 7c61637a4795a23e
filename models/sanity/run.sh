#!/usr/bin/env bash
set -euo pipefail
# An empty runner means one process, started directly.
exec ${MULTI_NODE_RUNNER:-python3} sanity.py "$@"
