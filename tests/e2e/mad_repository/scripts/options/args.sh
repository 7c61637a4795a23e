#!/bin/bash
set -euo pipefail
. ./expect.sh
expect args "$*" "--replaced by me"
echo "performance: 1 option"
