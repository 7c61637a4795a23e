#!/usr/bin/env bash
# Gets a docker engine to answer on this machine: bash scripts/engine.sh
# Starts the installed one; as root on Debian or Ubuntu installs docker.io first where there is none. Safe to repeat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/machine.sh
. ./machine.sh

readonly LOG=/var/log/dockerd.log WAIT_S=40
readonly PID=/var/run/docker.pid CONTAINERD_PID=/var/run/docker/containerd/containerd.pid

usage() {
  cat <<'TEXT'
usage: bash scripts/engine.sh
Exit 0 when a docker engine answers, 1 otherwise with the reason. Needs root to install or start one.
TEXT
}

report_engine() {
  local client
  client=$(docker_client) || return 1
  say "docker engine $("$client" version --format '{{.Server.Version}}') answers (client $client)"
}

# An ordinary user cannot start an engine: say which of the three reasons it is and what to do.
refuse_ordinary_user() {
  if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    die "user $(id -un) may not use /var/run/docker.sock; run: sudo usermod -aG docker $(id -un), then log in again"
  elif has dockerd; then
    die "no docker engine answers; as root run: bash scripts/engine.sh"
  fi
  die "no docker engine on this machine; as root run: bash scripts/engine.sh (Debian, Ubuntu), or install Docker or rootless Docker"
}

install_engine() {
  has dockerd && return 0
  is_debian_family || die "no dockerd on this machine and it is not Debian or Ubuntu; install a docker engine, then run this again"
  apt_install docker.io
  say "installed $(dockerd --version)"
}

start_with_systemd() {
  [ -d /run/systemd/system ] || return 1
  say "systemctl start docker"
  timeout 60 systemctl start docker >&2 && docker_client >/dev/null
}

# True when the process of a pid file lives. A zombie does not: after kill -9 it may wait for init for long.
is_alive() {
  local pid
  [ -s "$1" ] && pid=$(<"$1") || return 1
  case "$(sed -nE 's/^State:\s+(.).*/\1/p' "/proc/$pid/status" 2>/dev/null)" in '' | Z | X) return 1 ;; esac
}

drop_stale_pid_files() {
  local file
  for file in "$PID" "$CONTAINERD_PID"; do
    if [ -e "$file" ] && ! is_alive "$file"; then
      rm -f "$file"
      say "removed $file: its process is gone"
    fi
  done
}

start_dockerd() {
  drop_stale_pid_files
  is_alive "$PID" && say "dockerd (pid $(<"$PID")) runs but does not answer yet" && return 0
  mkdir -p "${LOG%/*}"
  (cd / && exec setsid nohup dockerd) >"$LOG" 2>&1 </dev/null 9>&- &
  say "started dockerd (log $LOG)"
}

# Waits for an answer; gives up early when the dockerd started here has ended.
wait_for_answer() {
  local started=$SECONDS
  while [ $((SECONDS - started)) -lt "$WAIT_S" ]; do
    docker_client >/dev/null && return 0
    if [ -n "$(jobs -p)" ] && [ -z "$(jobs -rp)" ]; then break; fi
    sleep 0.2
  done
  return 1
}

fail_with_log() {
  if [ -s "$LOG" ]; then
    say "no docker engine answers; last lines of $LOG:"
    tail -n 15 "$LOG" >&2
  else
    say "no docker engine answers within $WAIT_S s"
  fi
  exit 1
}

main() {
  case "${1:-}" in '') ;; -h | --help) usage && return 0 ;; *) usage >&2 && return 2 ;; esac
  report_engine && return 0
  [ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is $DOCKER_HOST and no engine answers there; start that one or unset DOCKER_HOST"
  is_root || refuse_ordinary_user
  exec 9>/run/madrun-engine.lock && flock 9 # a second caller waits, then finds the engine of the first
  report_engine && return 0
  install_engine
  start_with_systemd || start_dockerd
  wait_for_answer || fail_with_log
  report_engine
}

main "$@"
