#!/bin/bash
set -euo pipefail
. ./expect.sh
expect content "$(cat /opt_mount/weights.txt)" "to be read"
echo "performance: 1 option"
