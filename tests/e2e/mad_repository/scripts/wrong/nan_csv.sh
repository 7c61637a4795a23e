#!/bin/bash
printf 'model,performance,metric\nbig,nan,tokens\n' > perf_nan.csv
