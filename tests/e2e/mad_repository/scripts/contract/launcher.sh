#!/bin/bash
# A server that starts its own ranks gets no runner: the variable is there, and empty.
set -euo pipefail
. ./expect.sh
expect runner "$MAD_MULTI_NODE_RUNNER" ""
echo "performance: 1 server"
