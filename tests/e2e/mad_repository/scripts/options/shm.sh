#!/bin/bash
set -euo pipefail
. ./expect.sh
expect shm "$(df --output=size -BM /dev/shm | tail -n 1 | tr -d ' ')" 80M
echo "performance: 1 option"
