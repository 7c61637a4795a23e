"""A script that is started by python3 itself."""

import sys

print("arguments:", sys.argv[1:])
print("performance: 3.5 steps_per_second")
