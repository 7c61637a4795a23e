#!/bin/bash
set -euo pipefail
. ./expect.sh
expect "expanded by the host" "$FROM_HOST" "word-of-the-host"
expect hostname "$(cat /proc/sys/kernel/hostname)" "zoo-box"
echo "performance: 2 options"
