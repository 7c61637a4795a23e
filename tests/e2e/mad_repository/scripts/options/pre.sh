#!/bin/bash
set -euo pipefail
. ./expect.sh
expect mark "$(cat pre.mark)" "mark.sh one two"
echo "performance: 1 option"
