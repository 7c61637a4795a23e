#!/usr/bin/env bash
# mpirun calls this in place of ssh: [OPTIONS] HOST WORDS...; madrun's agents start the words in the box of that node.
# What is exported here goes along, but for what belongs to the node or to MPI itself. With MADRUN_MPI_SSH the agents
# start no more than sshd there, and the words go by ssh, with a key of this start alone.
set -u
box=${MADRUN_BOX:-${BASH_SOURCE[0]%/*}/..}
requests=$box/launch
name=$$.$RANDOM
while [[ ${1-} == -* ]]; do
  case $1 in -l | -p | -o | -i | -F) shift 2 ;; *) shift ;; esac
done
host=${1:?no host} && shift
fail() { echo "madrun-launch: $*" >&2; exit 255; }

declare -A before=()
while IFS= read -r -d '' entry; do before[${entry%%=*}]=${entry#*=}; done <"$box/environment"
exported() {                                    # what the script has set since the container began
  local entry name value
  printf '%s\0' "MADRUN_HEAD_BOX=$box"          # on the host itself every node's lies elsewhere
  while IFS= read -r -d '' entry; do
    name=${entry%%=*} value=${entry#*=}
    case $name in
      OMPI_* | PMIX_* | PRTE_* | PMI_* | HYDRA_* | HYDI_* | I_MPI_* | MPI_LOCAL* | MADRUN_*) continue ;;
      PWD | OLDPWD | SHLVL | _ | HOSTNAME) continue ;;
      PATH) value=${value//":$box/bin"/} ;;     # every node puts its own there
    esac
    # Of secrets the snapshot has the name alone: every node has its own.
    [[ ${before[$name]-'***'} == '***' && -n ${before[$name]+set} ]] && continue
    [[ -n ${before[$name]+set} && ${before[$name]} == "$value" ]] || printf '%s\0' "$name=$value"
  done <"/proc/$$/environ"
}
ask() {                                         # TEXT: has it started on the node, and waits for its end
  local tick=0.02 ticks=0
  # The directory is the agent's alone, and the agent need not be root.
  (umask 022; { printf '%s\0' "$host" "$PWD" "$1"; exported; } >"$requests/$name.request") ||
    fail "$requests/$name.request cannot be written"
  : >"$requests/$name.ready"
  exec 9<> <(:)                                 # a pipe nobody writes to: the clock
  while [[ ! -s $requests/$name.code ]]; do
    IFS= read -r -t "$tick" -u 9 _
    ((++ticks == 500)) && tick=0.2
  done
  exec 9<&-
  code=$(<"$requests/$name.code")
}
if [[ -z ${MADRUN_MPI_SSH-} ]]; then
  ask "$*"
  [[ ! -s $requests/$name.out ]] || printf '%s\n' "$(<"$requests/$name.out")" >&2
  exit "$code"
fi

key=$box/ssh/$name
{ (umask 077; mkdir -p "$box/ssh") && ssh-keygen -q -t ed25519 -N '' -C madrun -f "$key" >&2 </dev/null; } ||
  fail "ssh-keygen made no key in $box/ssh"
ask "madrun-sshd '$(<"$key.pub")'"
((code == 0)) || fail "no sshd on $host: $(<"$requests/$name.out")"
mapfile -t said <"$requests/$name.out"
read -r address port keeper user public <<<"${said[-1]-}"
printf '%s %s\n' "$host" "$public" >"$key.hosts"
exec ssh -F /dev/null -i "$key" -l "$user" -p "$port" -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
  -o "UserKnownHostsFile=\"$key.hosts\"" -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes \
  -o "HostKeyAlias=$host" -o CheckHostIP=no -o UpdateHostKeys=no -o LogLevel=ERROR -o ConnectTimeout=10 \
  -o ServerAliveInterval=2 -o ServerAliveCountMax=3 -- "$address" "$keeper $*"
