#!/usr/bin/env bash
# Prints one line and runs the command that follows: the smallest tool, to see that tools work.
echo "madrun tool: $*"
exec "$@"
