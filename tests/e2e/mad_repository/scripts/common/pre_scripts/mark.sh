#!/bin/bash
set -euo pipefail
test "$(pwd)" = /myworkspace/run_directory
echo "$0 $*" > pre.mark
