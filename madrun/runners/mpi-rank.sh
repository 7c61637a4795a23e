#!/usr/bin/env bash
# mpirun starts this for every rank: it says in torch's words who the rank is, and runs what follows.
#   madrun-rank PROGRAM ARGUMENTS...      a Python file, or -m MODULE, is started by python
# Its own variables begin with _: a name that is the user's would reach the rank with another value.
fail() { echo "madrun-rank: $*" >&2; exit 96; }

# Where MPI has given this rank node 0's variables (Intel MPI), its node's own are those that MPI was started with here.
if [[ -n ${MADRUN_HOLD-} && ${NODE_RANK-} == 0 ]]; then
  while IFS= read -r -d '' _entry; do
    case ${_entry%%=*} in
      PMI_* | MPI_LOCAL* | I_MPI_* | PWD | _) ;;
      *) [[ ${_entry%%=*} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && export "${_entry?}" ;;
    esac
  done <"/proc/$PPID/environ"
fi
_box=${MADRUN_BOX:-${BASH_SOURCE[0]%/*}/..}
if [[ -n ${MADRUN_HEAD_BOX-} && $MADRUN_HEAD_BOX != "$_box" ]]; then  # on the host itself: every node has its own files
  cd "${MADRUN_DIRECTORY:-$_box/work}" || fail "$MADRUN_DIRECTORY: no such directory on node $NODE_RANK"
  set -- "${@//"$MADRUN_HEAD_BOX"/"$_box"}"
fi
_rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${PMIX_RANK:-}}}
_size=${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE:-}}
_own=${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-}}
_beside=${OMPI_COMM_WORLD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-}}
[[ -n $_rank && -n $_size && -n $_own && -n $_beside ]] ||
  fail "started by no MPI that is known: set are neither OMPI_COMM_WORLD_* (Open MPI) nor PMI_* and MPI_LOCAL* (MPICH)"
# A world of another size, or ranks on the wrong node, would measure something else and say nothing.
((_size == NNODES * NPROC_PER_NODE)) || fail "mpirun made $_size ranks, planned are $NNODES x $NPROC_PER_NODE"
((_beside == NPROC_PER_NODE && _rank / NPROC_PER_NODE == NODE_RANK)) ||
  fail "mpirun put rank $_rank on node $NODE_RANK, one of $_beside there; planned are $NPROC_PER_NODE a node, in order"
export WORLD_SIZE=$_size LOCAL_RANK=$_own LOCAL_WORLD_SIZE=$_beside GROUP_RANK=$NODE_RANK

_python=$(type -P python3) || _python=$(type -P python) || _python=
case ${1-} in
  '') fail "nothing to start: put the training script behind \$MULTI_NODE_RUNNER" ;;
  *.py | -m | -c | -u) [[ -n $_python ]] || fail "no python3 on PATH to start $1 with"; set -- "$_python" -u "$@" ;;
esac
_program=$(type -P -- "$1") || fail "$1: no such program on PATH"
shift
# On the other nodes the output goes to their own console, as with every runner, and not the way over node 0.
if [[ -n ${MADRUN_CONSOLE-} ]] && { : >>"$MADRUN_CONSOLE"; } 2>/dev/null; then exec >>"$MADRUN_CONSOLE" 2>&1; fi
if [[ -n $_python && -f $_box/rank.py && -d $_box/ranks ]]; then
  [[ -n ${OMPI_COMM_WORLD_RANK-} ]] || export MADRUN_BY_SIGNAL=1
  unset RANK                                    # whoever looks for ranks among processes finds the rank alone
  exec "$_python" -I -S "$_box/rank.py" "$_rank" "$_program" "$@"
fi
export RANK=$_rank
exec "$_program" "$@"
