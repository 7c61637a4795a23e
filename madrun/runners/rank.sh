#!/usr/bin/env bash
# Torchrun starts this in place of its interpreter (its variable PYTHON_EXEC): the same interpreter, below rank.py.
[[ ${1-} == --ready ]] && exit 0
unset PYTHON_EXEC
box=${BASH_SOURCE[0]%/*} first= python=
{ IFS= read -r -d '' first </proc/$PPID/cmdline; } 2>/dev/null
for name in "$first" python3 python; do        # as torchrun was called, if that is what runs there
  [[ ${name##*/} == *py* ]] && found=$(type -P -- "$name") && [[ $found -ef /proc/$PPID/exe ]] && python=$found && break
done
[[ -n $python ]] || python=$(type -P python3) || python=$(type -P python) || python=python3
[[ -n ${RANK-} && -f $box/rank.py && -d $box/ranks ]] || exec "$python" "$@"
rank=$RANK
unset RANK                                      # whoever looks for ranks among processes finds the rank alone
exec "$python" -I -S "$box/rank.py" "$rank" "$python" "$@"
