#!/usr/bin/env bash
# Prints its arguments and where it runs.
printf 'madrun pre-script in %s:' "$PWD"
printf ' %s' "$@"
printf '\n'
