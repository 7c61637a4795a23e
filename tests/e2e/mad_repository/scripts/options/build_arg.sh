#!/bin/bash
set -euo pipefail
. ./expect.sh
expect flavor "$FLAVOR" chocolate
echo "performance: 1 option"
