#!/bin/bash
set -o pipefail
python3 train.py --precision "$1" |& tee train.log
rate=$(sed -n 's/.*rate: \([0-9.]*\)$/\1/p' train.log | tail -n 1)
printf 'model,performance,metric\nllama_%s,%s,tok_per_s_per_gpu\nllama_%s,%s,TFLOPS_per_gpu\n' \
  "$1" "$rate" "$1" 88 > ../perf_megatron.csv
cp train.log ../
