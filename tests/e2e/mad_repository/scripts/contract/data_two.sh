#!/bin/bash
set -euo pipefail
. ./expect.sh
IFS=, read -r first second <<< "$MAD_DATAHOME"
expect names "$MAD_DATANAME" corpus,tokens
expect first "$(cat "$first/corpus.txt")" "to be read"
expect second "$(cat "$second/tokens.txt")" "one two"
[[ $second == /my_home* ]]
echo "mine" > "$second/written_by_the_script"
echo "performance: 2 corpora"
