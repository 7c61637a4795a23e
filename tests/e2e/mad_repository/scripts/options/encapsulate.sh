#!/bin/bash
set -euo pipefail
. ./expect.sh
expect wrapped "${WRAPPED-unset}" yes
echo "performance: 1 option"
