#!/bin/bash
# What the context says of the host stands above what is found.
set -euo pipefail
. ./expect.sh
expect guest "${MAD_GUEST_OS-unset}" UBUNTU
echo "performance: 1 option"
