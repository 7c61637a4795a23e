#!/bin/bash
# The checkout's root is ../, also by its absolute name; scripts write there and never see what another run wrote.
set -euo pipefail
. ./expect.sh
expect directory "$(pwd)" /myworkspace/run_directory
expect sibling "$(./report.sh)" report
expect common "$(bash ../scripts/common/own.sh)" own
expect models "$(head -c 1 ../models.json)" '['
test -f ../docker/base.ubuntu.cpu.Dockerfile
test ! -e ../left_over
touch ../left_over
export HF_HUB_CACHE=/myworkspace
mkdir -p "$HF_HUB_CACHE/models--tiny"
echo weights > "$HF_HUB_CACHE/models--tiny/blob"
echo "in the run directory" > note.txt
echo "above it" > "$(pwd)/../note_above.txt"
expect user "$(id -u)" 0
echo "performance: 1.5e+3 widgets"
