#!/usr/bin/env bash
# Gets podman's API service to answer on this machine and prints its address, alone, on stdout:
#   bash scripts/podman.sh              -> unix:///run/podman/podman.sock
# As an ordinary user it is that user's own, rootless service. As root on Debian or Ubuntu it installs podman first where
# there is none. Nothing of the machine's configuration is changed. Safe to repeat; --stop ends a service started here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/machine.sh
. ./machine.sh

readonly PACKAGES=(podman crun runc netavark aardvark-dns catatonit uidmap slirp4netns) WAIT_S=20 WANTED_FILES=1048576

usage() {
  cat <<'TEXT'
usage: bash scripts/podman.sh [--stop]
Prints the address of podman's API service; exit 1 with the reason where none can be had. Set CONTAINER_HOST to it
where madrun does not find it by itself. --stop ends the service that an earlier call started.
TEXT
}

service_answers() { timeout 20 podman --url "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1; }

report_service() {
  service_answers "$1" || return 1
  say "podman $(podman --version | cut -d' ' -f3) answers at $1"
  printf '%s\n' "$1"
}

install_podman() {
  has podman && return 0
  can_apt || die "no podman on this machine; install it (Debian, Ubuntu, as root: bash scripts/podman.sh), then run this again"
  apt_install "${PACKAGES[@]}" >&2 || exit 1
  say "installed $(podman --version)"
}

# What rootless containers need of the machine: each lack has its own sentence.
check_rootless() {
  local user file
  user=$(id -un)
  has newuidmap || die "no newuidmap; as root: apt-get install uidmap (elsewhere: the package shadow-utils)"
  for file in /etc/subuid /etc/subgid; do
    grep -qsE "^($user|$(id -u)):" "$file" ||
      die "user $user has no subordinate ids in $file; as root: usermod --add-subuids 200000-265535 --add-subgids 200000-265535 $user"
  done
  unshare --user true 2>/dev/null ||
    die "this kernel gives ordinary users no user namespace; as root: sysctl user.max_user_namespaces=15000 (and kernel.unprivileged_userns_clone=1 where there is one)"
}

start_with_systemd() {
  local scope=()
  [ -d /run/systemd/system ] || return 1
  is_root || scope=(--user)
  timeout 60 systemctl "${scope[@]}" start podman.socket >&2 && report_service "$address"
}

# Prints the settings that podman's own defaults lack on this machine; nothing where they will do.
own_settings() {
  local files processes
  files=$(ulimit -Hn) processes=$(</proc/sys/kernel/pid_max) # podman lowers its own number of processes to that
  if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then # cgroup v1 or both: crun refuses, and systemd may not be there
    printf '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
  fi
  if [ "$files" != unlimited ] && [ "$files" -lt "$WANTED_FILES" ] && ! (ulimit -Hn "$WANTED_FILES") 2>/dev/null; then
    if [ "$(ulimit -Hu)" != unlimited ] && [ "$(ulimit -Hu)" -lt "$processes" ]; then processes=$(ulimit -Hu); fi
    printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n' "$files" "$files" "$processes" "$processes"
  fi
}

# Without a storage.conf some podmans take vfs for an ordinary user, which copies a whole image for each container.
write_storage_settings() {
  local file=$folder/storage.conf images=${XDG_DATA_HOME:-$HOME/.local/share}/madrun/podman
  rm -f "$file"
  [ "$(podman info --format '{{.Store.GraphDriverName}}' 2>/dev/null)" = vfs ] || return 0
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s/run"\nrootless_storage_path = "%s"\n' \
    "$images" "$folder" "$images" >"$file"
  if CONTAINERS_STORAGE_CONF=$file podman info >/dev/null 2>&1; then
    say "images go to $images, for podman's own choice here is vfs; to see them: export CONTAINERS_STORAGE_CONF=$file"
  else
    rm -f "$file"
  fi
}

write_settings() {
  local settings
  if [ -z "${CONTAINERS_CONF:-}" ]; then
    settings=$(own_settings)
    rm -f "$folder/containers.conf"
    [ -z "$settings" ] || printf '%s\n' "$settings" >"$folder/containers.conf"
    use_podman_settings
  fi
  [ -n "${CONTAINERS_STORAGE_CONF:-}" ] || is_root || write_storage_settings
  use_podman_settings
}

start_service() {
  local started=$SECONDS
  write_settings
  rm -f "${address#unix://}"
  # In a directory that stays: podman starts no container once its own was deleted.
  (cd / && exec setsid nohup podman system service --time=0 "$address") >"$folder/service.log" 2>&1 </dev/null 9>&- &
  printf '%s\n' "$!" >"$folder/service.pid"
  say "started podman's API service (log $folder/service.log)"
  while [ $((SECONDS - started)) -lt "$WAIT_S" ]; do
    report_service "$address" && return 0
    [ -n "$(jobs -rp)" ] || break
    sleep 0.2
  done
  say "podman's API service does not answer at $address; last lines of its log:"
  tail -n 15 "$folder/service.log" >&2
  exit 1
}

stop_service() {
  local pid
  pid=$(cat "$folder/service.pid" 2>/dev/null) || { say "no service was started here" && return 0; }
  if grep -qsz podman "/proc/$pid/cmdline"; then kill -TERM "$pid"; fi
  rm -f "$folder/service.pid" "$folder/containers.conf" "$folder/storage.conf" "${address#unix://}"
  say "stopped podman's API service"
}

main() {
  local stop=0
  case "${1:-}" in '') ;; --stop) stop=1 ;; -h | --help) usage && return 0 ;; *) usage >&2 && return 2 ;; esac
  folder=$(podman_folder)
  address=unix://$folder/podman.sock
  if [ "$stop" = 1 ]; then
    stop_service
    return 0
  fi
  if [ -n "${CONTAINER_HOST:-}" ]; then
    install_podman
    report_service "$CONTAINER_HOST" && return 0
    die "CONTAINER_HOST is $CONTAINER_HOST and no podman answers there; start that one or unset CONTAINER_HOST"
  fi
  install_podman
  is_root || check_rootless
  (umask 077 && mkdir -p "$folder")
  [ -O "$folder" ] || die "$folder belongs to somebody else; set XDG_RUNTIME_DIR to a directory of your own"
  exec 9>"$folder/start.lock" && flock 9 # a second caller waits, then finds the service of the first
  if [ -S "$folder/podman.sock" ]; then report_service "$address" && return 0; fi
  start_with_systemd || start_service
}

main "$@"
