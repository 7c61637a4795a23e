#!/bin/bash
set -euo pipefail
. ./expect.sh
expect cpus "$(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status)" 0
echo "performance: 1 option"
