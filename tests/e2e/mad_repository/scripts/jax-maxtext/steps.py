"""Writes no CSV: one line is enough."""

import sys

assert sys.argv[1:] == ["--steps", "2"], sys.argv
print("performance: 0.25 seconds_per_step")
