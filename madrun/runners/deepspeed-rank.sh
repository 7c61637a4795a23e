#!/usr/bin/env bash
# deepspeed starts this for every rank (--no_python): the interpreter by which it runs itself, below rank.py.
# Its own variables begin with _: a name that is the user's would reach the rank with another value.
_box=${MADRUN_BOX:-${BASH_SOURCE[0]%/*}/..}
# It counts GPUs from 0 among all of the host, whatever the variable left before.
{
  while IFS= read -r -d '' _entry; do
    [[ $_entry != CUDA_VISIBLE_DEVICES=* ]] || export "${_entry?}"
  done <"$_box/environment"
} 2>/dev/null
export GROUP_RANK=${NODE_RANK-} LOCAL_WORLD_SIZE=${LOCAL_SIZE-}
case ${1-} in
  '') echo "madrun-python: nothing to start: put the training script behind \$MULTI_NODE_RUNNER" >&2; exit 96 ;;
  --module) shift; set -- -m "$@" ;;             # deepspeed's own word for it
esac
exec bash "$_box/rank" -u "$@"
