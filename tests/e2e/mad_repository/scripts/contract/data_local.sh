#!/bin/bash
set -euo pipefail
. ./expect.sh
expect name "$MAD_DATANAME" corpus
expect content "$(cat "$MAD_DATAHOME/corpus.txt")" "to be read"
if touch "$MAD_DATAHOME/written" 2> /dev/null; then
  echo "the data could be written to" >&2
  exit 44
fi
echo "performance: 1 corpus"
