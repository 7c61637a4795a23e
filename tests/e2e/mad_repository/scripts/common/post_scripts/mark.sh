#!/bin/bash
set -euo pipefail
echo "after ${1-nothing}" > ../post.mark
echo "post script ran in $(pwd)"
