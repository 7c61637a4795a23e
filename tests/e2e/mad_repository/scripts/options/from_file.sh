#!/bin/bash
set -euo pipefail
. ./expect.sh
expect file "${FROM_FILE-unset}" "kept"
expect over "${FROM_BOTH-unset}" "from the command line"
echo "performance: 1 option"
