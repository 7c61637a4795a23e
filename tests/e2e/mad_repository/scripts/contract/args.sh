#!/bin/bash
set -euo pipefail
. ./expect.sh
wanted=(--text 'a b' --model args_bytes --semi 'x;y' --uni 'é漢字' --nl $'one\ntwo' --back 'a\b' --sum 5 --quote "it's" --hash '#no')
expect count "$#" "${#wanted[@]}"
for word in "${wanted[@]}"; do
  expect word "$1" "$word"
  shift
done
echo "performance: 9 words"
