#!/bin/bash
set -euo pipefail
. ./expect.sh
expect name "$MAD_DATANAME" made
expect made "$(cat "$MAD_DATAHOME/made.txt")" "3 words"
echo "performance: 3 words"
