#!/bin/bash
set -euo pipefail
. ./expect.sh
expect args "$*" "--given 1 --batch_size 512 --in 32 --fast"
echo "performance: 512 batch"
