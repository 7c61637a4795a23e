#!/bin/bash
# Runs in the clone, into which this folder was copied.
set -euo pipefail
test "$(basename "$(pwd)")" = tiny
test "$(cat upstream.txt)" = upstream
test "$(cat inner/inner.txt)" = inner
test "$(dirname "$(pwd)")" = /myworkspace
echo "performance: 1 clone"
