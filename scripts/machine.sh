# shellcheck shell=bash
# What this machine has and how to get what it lacks: root, apt, Python, an engine. Sourced, never run.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

is_root() { [ "$(id -u)" = 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# Prints one field of /etc/os-release (ID, VERSION_CODENAME); nothing where there is no such file.
os_field() { ( . /etc/os-release 2>/dev/null && printf '%s' "${!1:-}" ) || true; }

is_debian_family() {
  case " $(os_field ID) $(os_field ID_LIKE) " in *" debian "* | *" ubuntu "*) has apt-get ;; *) return 1 ;; esac
}

can_apt() { is_root && is_debian_family; }

# Installs packages; quiet unless it fails. A broken third-party source must not stop the others, hence `|| say`.
apt_install() {
  local log
  log=$(mktemp)
  say "apt-get install $*"
  DEBIAN_FRONTEND=noninteractive apt-get update -q >"$log" 2>&1 || say "apt-get update had errors, going on"
  if ! DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "$@" \
    >>"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    say "apt-get install $* failed; see above"
    return 1
  fi
  rm -f "$log"
}

engine_answers() { timeout 10 "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Prints the docker client to use. The distribution's own comes first: it fits the distribution's engine, while a newer
# one earlier on PATH may lack the buildx plugin that it needs to build.
docker_client() {
  local client
  for client in /usr/bin/docker "$(command -v docker || true)"; do
    [ -x "$client" ] && engine_answers "$client" && printf '%s\n' "$client" && return 0
  done
  return 1
}

# Where podman's API service of this user has its socket: where podman itself would put it.
podman_folder() {
  if is_root; then
    printf /run/podman
  else
    printf %s "${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}/podman-run-$(id -u)}/podman"
  fi
}

# Lets `podman` on this command line work as the service that podman.sh started.
use_podman_settings() {
  local folder
  folder=$(podman_folder)
  if [ -z "${CONTAINERS_CONF:-}" ] && [ -s "$folder/containers.conf" ]; then
    export CONTAINERS_CONF=$folder/containers.conf
  fi
  if [ -z "${CONTAINERS_STORAGE_CONF:-}" ] && [ -s "$folder/storage.conf" ]; then
    export CONTAINERS_STORAGE_CONF=$folder/storage.conf
  fi
}

python_is_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }
python_makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Prints a Python >= 3.10 that can make virtual environments, or returns 1.
find_python() {
  local python
  for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    has "$python" && python_is_enough "$python" && python_makes_venvs "$python" && command -v "$python" && return 0
  done
  return 1
}

# Makes the virtual environment DIR where there is none; installs python3-venv first where it is missing and we may.
ensure_venv() {
  local dir=$1 python
  "$dir/bin/python" -m pip --version >/dev/null 2>&1 && return 0
  if ! python=$(find_python); then
    can_apt || die "no Python >= 3.10 with venv on PATH; install one (Debian, Ubuntu: apt-get install python3-venv), then run this again"
    apt_install python3-venv
    python=$(find_python) || die "the Python of this system is older than 3.10; install a newer one with venv, then run this again"
  fi
  say "making ${dir##*/} with $("$python" --version) ($python)"
  rm -rf "$dir"
  "$python" -m venv "$dir"
}
