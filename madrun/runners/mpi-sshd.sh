#!/usr/bin/env bash
# On a node that holds:
#   madrun-sshd 'KEY'      lets the owner of KEY in for one start; prints ADDRESS PORT PROCESS USER HOSTKEY
#   madrun-sshd --enter    what ssh may start: the words that were sent, with the environment that PROCESS has
set -u
fail() { echo "madrun-sshd: $*" >&2; exit 1; }

if [[ ${1-} == --enter ]]; then
  said=${SSH_ORIGINAL_COMMAND-} keeper=${SSH_ORIGINAL_COMMAND%% *}
  [[ $keeper =~ ^[0-9]+$ && -r /proc/$keeper/environ ]] || fail "nothing but a start of this run is let in"
  unset SSH_ORIGINAL_COMMAND SSH_CLIENT SSH_CONNECTION SSH_TTY
  while IFS= read -r -d '' entry; do
    [[ ${entry%%=*} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && export "${entry?}"
  done </proc/"$keeper"/environ 2>/dev/null
  cd -- "$(readlink "/proc/$keeper/cwd")" || fail "the directory of the start is gone"
  kill -KILL "$keeper"
  exec bash -c "${said#* }"
fi

box=${MADRUN_BOX:-${BASH_SOURCE[0]%/*}/..} home=$box/ssh address=${MADRUN_ADDRESS:?}
sshd=$(type -P sshd) || fail "no sshd on PATH"
umask 077
exec 9<> <(:)                                   # a pipe nobody writes to: the clock
nap() { IFS= read -r -t "$1" -u 9 _; }
mkdir -p "$home"
until mkdir "$home/lock" 2>/dev/null; do nap 0.02; done
trap 'rmdir "$home/lock"' EXIT

configure() {                                   # PORT
  printf '%s\n' "Port $1" "ListenAddress $address" "HostKey \"$home/host\"" "AuthorizedKeysFile \"$home/allowed\"" \
    'PubkeyAuthentication yes' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' \
    'PermitRootLogin forced-commands-only' 'PidFile none' 'PrintMotd no' 'PrintLastLog no' 'MaxStartups 1000' \
    'MaxSessions 1000' 'StrictModes no'         # the box is the agent's, whoever that is here
  # Without PAM sshd turns away whoever has no password at all.
  if grep -q "^$(id -un):!" /etc/shadow 2>/dev/null; then echo 'UsePAM yes'; else echo 'UsePAM no'; fi
}
serve() {                                       # starts sshd at a port that is free, into port
  local pid
  [[ -f $home/host ]] || ssh-keygen -q -t ed25519 -N '' -C madrun -f "$home/host" </dev/null || return
  ((UID)) || mkdir -p /run/sshd
  for _ in {1..20}; do
    port=$((20000 + RANDOM % 9400))             # below what a kernel gives to outgoing connections
    configure "$port" >"$home/config" && : >"$home/log"
    env -i PATH="$PATH" "$sshd" -f "$home/config" -D -e >"$home/log" 2>&1 </dev/null 9>&- &
    pid=$!
    for _ in {1..250}; do
      grep -q "^Server listening on" "$home/log" && echo "$port" >"$home/port" && return
      kill -0 "$pid" 2>/dev/null || break
      nap 0.02
    done
    kill -KILL "$pid" 2>/dev/null
  done
  return 1
}
[[ -s $home/port ]] || serve || fail "sshd does not start: $(tail -3 "$home/log" 2>/dev/null)"
printf 'restrict,command="bash %q --enter" %s\n' "$box/bin/madrun-sshd" "$1" >>"$home/allowed"
{ while :; do nap 60; done; } </dev/null >/dev/null 2>&1 &    # keeps environment and directory for whoever enters
read -r type key _ <"$home/host.pub"
echo "$address $(<"$home/port") $! $(id -un) $type $key"
