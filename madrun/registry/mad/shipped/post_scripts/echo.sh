#!/usr/bin/env bash
# Prints its arguments and where it runs.
printf 'madrun post-script in %s:' "$PWD"
printf ' %s' "$@"
printf '\n'
