#!/bin/bash
# The second generation's way.
set -euo pipefail
PATH=$PWD/bin:$PATH
$MAD_MULTI_NODE_RUNNER train.py --lr 1
