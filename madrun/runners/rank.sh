#!/usr/bin/env bash
# Torchrun starts this in place of its interpreter (its variable PYTHON_EXEC): the same interpreter, below rank.py.
# Its own variables begin with _: a name that is the user's would reach the rank with another value.
[[ ${1-} == --ready ]] && exit 0
unset PYTHON_EXEC
_box=${BASH_SOURCE[0]%/*} _first= _python=
{ IFS= read -r -d '' _first </proc/$PPID/cmdline; } 2>/dev/null
for _name in "$_first" python3 python; do       # as torchrun was called, if that is what runs there
  [[ ${_name##*/} == *py* ]] && _found=$(type -P -- "$_name") && [[ $_found -ef /proc/$PPID/exe ]] &&
    _python=$_found && break
done
[[ -n $_python ]] || _python=$(type -P python3) || _python=$(type -P python) || _python=python3
[[ -n ${RANK-} && -f $_box/rank.py && -d $_box/ranks ]] || exec "$_python" "$@"
_rank=$RANK
unset RANK                                      # whoever looks for ranks among processes finds the rank alone
exec "$_python" -I -S "$_box/rank.py" "$_rank" "$_python" "$@"
