#!/bin/bash
set -euo pipefail
. ./expect.sh
expect word "${OPT_WORD-unset}" "a b \$HOME \"q\""
expect number "${OPT_NUMBER-unset}" 4
echo "performance: 1 option"
