#!/bin/bash
set -euo pipefail
. ./expect.sh
expect tree "$(cat /workspace/Megatron-LM/tree.txt)" tree
expect directory "$(pwd)" /myworkspace/run_directory
echo "performance: 1 tree"
