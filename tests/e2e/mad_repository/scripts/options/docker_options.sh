#!/bin/bash
set -euo pipefail
. ./expect.sh
expect raw "${RAW_OPTION-unset}" "x y"
echo "performance: 1 option"
