#!/bin/bash
# A source without a provider: a weights path from us would replace the model's own name.
set -euo pipefail
. ./expect.sh
expect home "${MAD_DATAHOME-unset}" unset
echo "performance: 1 download"
