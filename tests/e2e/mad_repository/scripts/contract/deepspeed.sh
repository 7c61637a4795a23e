#!/bin/bash
set -euo pipefail
. ./expect.sh
expect runner "$(tr ' ' '\n' <<< "$MAD_MULTI_NODE_RUNNER" | grep -cx deepspeed)" 1
echo "performance: 1 deepspeed"
