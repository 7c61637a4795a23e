#!/bin/bash
# The first generation's way; a torchrun of our own shows what it was called with.
set -euo pipefail
PATH=$PWD/bin:$PATH
eval "$MAD_MULTI_NODE_RUNNER train.py --lr 1"
