#!/bin/bash
# Two precisions in one CSV, and nothing that tells their rows apart.
printf 'model,performance,metric\nllama,41.5,tok_per_s_per_gpu\nllama,77.5,tok_per_s_per_gpu\n' > ../perf_collide.csv
