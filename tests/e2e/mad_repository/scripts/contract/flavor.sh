#!/bin/bash
set -euo pipefail
echo "performance: 1 ${FLAVOR?}"
