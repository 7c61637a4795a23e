#!/bin/bash
set -euo pipefail
test "$(pwd)" = "$MAD_DATAHOME"
sleep 0.1
echo "$*" > made.txt
