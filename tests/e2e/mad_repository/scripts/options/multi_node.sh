#!/bin/bash
set -euo pipefail
. ./expect.sh
expect port "$MASTER_PORT" 29777
expect processes "$MAD_RUNTIME_NGPUS" 3
[[ $MAD_MULTI_NODE_RUNNER == *29777* && $MAD_MULTI_NODE_RUNNER == *nproc_per_node*3* ]]
echo "performance: 1 option"
