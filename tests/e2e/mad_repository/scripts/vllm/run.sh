#!/bin/bash
# Appends to a CSV beside the checkout's files, as sweeps do.
set -e
model=$1
csv=../perf_$model.csv
if [ ! -f "$csv" ]; then
  echo "model,benchmark,tp,inp,out,performance,metric,unit" > "$csv"
fi
for tp in 1 2; do
  echo "$model-tp$tp,serving,$tp,128,128,$((tp * 100)).25,throughput_tot,tok/s" >> "$csv"
  echo "$model-tp$tp,serving,$tp,128,128,$((tp * 10)).5,median_tpot,ms" >> "$csv"
done
