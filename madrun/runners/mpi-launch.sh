#!/usr/bin/env bash
# mpirun calls this in place of ssh: [OPTIONS] HOST WORDS...; madrun's agents start the words in the box of that node.
# What is exported here goes along, but for what belongs to the node or to MPI itself.
set -u
box=${MADRUN_BOX:-${BASH_SOURCE[0]%/*}/..}
requests=$box/launch
while [[ ${1-} == -* ]]; do
  case $1 in -l | -p | -o | -i | -F) shift 2 ;; *) shift ;; esac
done
host=${1:?no host} && shift

declare -A before=()
while IFS= read -r -d '' entry; do before[${entry%%=*}]=${entry#*=}; done <"$box/environment"
exported() {                                    # what the script has set since the container began
  local entry name
  while IFS= read -r -d '' entry; do
    name=${entry%%=*}
    case $name in
      OMPI_* | PMIX_* | PRTE_* | PMI_* | HYDRA_* | HYDI_* | MADRUN_* | PWD | OLDPWD | SHLVL | _ | HOSTNAME) continue ;;
    esac
    # Of secrets the snapshot has the name alone: every node has its own.
    [[ ${before[$name]-'***'} == '***' && -n ${before[$name]+set} ]] && continue
    [[ -n ${before[$name]+set} && ${before[$name]} == "${entry#*=}" ]] || printf '%s\0' "$entry"
  done <"/proc/$$/environ"
}

name=$$.$RANDOM
trap ': >"$requests/$name.stop"; exit 143' TERM INT HUP
{ printf '%s\0' "$host" "$PWD" "$*"; exported; } >"$requests/$name.request"
: >"$requests/$name.ready"
exec 9<> <(:)                                   # a pipe nobody writes to: the clock
tick=0.02 ticks=0
while [[ ! -s $requests/$name.code ]]; do
  IFS= read -r -t "$tick" -u 9 _
  ((++ticks == 500)) && tick=0.2
done
[[ ! -s $requests/$name.out ]] || printf '%s\n' "$(<"$requests/$name.out")" >&2
exit "$(<"$requests/$name.code")"
