#!/bin/bash
# The image was built for an architecture that this host does not have.
set -euo pipefail
. ./expect.sh
expect architecture "$FLAVOR" gfx942
echo "performance: 1 option"
