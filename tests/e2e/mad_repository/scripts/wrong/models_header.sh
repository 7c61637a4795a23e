#!/bin/bash
printf 'models,performance,metric\nbig,5,tokens\n' > perf_header.csv
