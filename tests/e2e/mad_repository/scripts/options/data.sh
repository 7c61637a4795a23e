#!/bin/bash
set -euo pipefail
. ./expect.sh
expect content "$(cat "$MAD_DATAHOME/tokens.txt")" "one two"
echo "performance: 1 option"
