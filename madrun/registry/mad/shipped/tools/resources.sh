#!/usr/bin/env bash
# Runs the command that follows and writes its wall, user and system seconds to ../resources.csv.
TIMEFORMAT='%R,%U,%S'
{ time "$@" 2>&3; } 3>&2 2>../resources.part
code=$?
{ echo real_s,user_s,system_s && tail -n 1 ../resources.part; } >../resources.csv
rm -f ../resources.part
exit "$code"
