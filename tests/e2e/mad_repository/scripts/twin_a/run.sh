#!/bin/bash
set -euo pipefail
test -f ../models.json
bash ../scripts/common/own.sh
echo "performance: 1 twin_a"
