#!/usr/bin/env bash
# Makes the CPU base image of the cards (python3, torch, numpy) on this machine and prints its name, alone, on stdout:
#   bash scripts/base_image.sh                    -> madrun/cpu-base:0123456789ab
#   bash scripts/base_image.sh --runtime podman   the same for podman
# The tag is the hash of the recipe (this file, the OS it starts from, the architecture), so nothing is done when the
# image is there. It needs no container registry: where none answers, the OS comes from this machine's own apt mirror.
# torch and numpy come from wherever this machine's pip gets its packages (pip config, PIP_INDEX_URL, PIP_FIND_LINKS).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
. "$here/machine.sh"

readonly PACKAGES=("torch==2.13.0" "numpy") OS_PACKAGES=(python3 iproute2 procps)
readonly OS_IMAGE=docker.io/library/python:3.11-slim DEBIAN_SUITE=bookworm # both have Python 3.11
readonly REGISTRY_WAIT_S=12 PULL_S=600
readonly LABEL=madrun.image=base

usage() {
  cat <<'TEXT'
usage: bash scripts/base_image.sh [--runtime docker|podman] [--name]
Makes the CPU base image where it is missing and prints its name. --name only prints the name. For podman it is copied
from docker where docker has it.
TEXT
}

# Ubuntu's mirrors hold no Debian, so there the machine's own suite is the fallback, with its own Python.
os_suite() { if [ "$(os_field ID)" = ubuntu ]; then os_field VERSION_CODENAME; else printf %s "$DEBIAN_SUITE"; fi; }

image_name() {
  local hash
  hash=$({ cat "$here/base_image.sh"; printf '%s\n' "$OS_IMAGE" "$(os_suite)" "$(uname -m)"; } | sha256sum)
  printf 'madrun/cpu-base:%s\n' "${hash:0:12}"
}

image_exists() { "$engine" image inspect "$1" >/dev/null 2>&1; }

# An engine has no connect timeout of its own: give a registry REGISTRY_WAIT_S to name the image, then PULL_S to send it.
pull_os_image() {
  local pid started=$SECONDS
  timeout "$PULL_S" "$engine" pull "$OS_IMAGE" >"$work/pull.log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && ! grep -qE 'Pulling from|Copying blob' "$work/pull.log"; do
    if [ $((SECONDS - started)) -ge "$REGISTRY_WAIT_S" ]; then
      kill "$pid"
      break
    fi
    sleep 0.2
  done
  wait "$pid" 2>/dev/null && image_exists "$OS_IMAGE"
}

# Prints the mirror that apt on this machine uses for this OS, with mirror lists resolved to their first entry.
apt_mirror() {
  local suite=$1 release uri
  for release in "$suite" "$(os_field VERSION_CODENAME)"; do
    # shellcheck disable=SC2016 # the fields of apt's own format
    uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
      awk -v r="$release" '$1 == r && $2 == "main" { print $3; exit }')
    case "$uri" in
      mirror+file:*) uri=$(grep -m1 -oE '^https?://[^[:space:]]+' "${uri#mirror+file:}" || true) ;;
    esac
    [ -z "$uri" ] || { printf '%s\n' "$uri" && return 0; }
  done
  die "apt on this machine names no source of $suite main; pull or load $OS_IMAGE into $engine, then run this again"
}

ensure_bootstrap_tool() {
  has mmdebstrap || has debootstrap && return 0
  can_apt || die "no registry answers for $OS_IMAGE and mmdebstrap is not installed; as root run: apt-get install mmdebstrap"
  apt_install mmdebstrap || apt_install debootstrap
}

# Writes the root file system of a minimal OS with Python to stdout, as a tar.
bootstrap_os() {
  local suite=$1 mirror=$2 include
  include=$(IFS=,; printf %s "${OS_PACKAGES[*]}")
  if has mmdebstrap; then
    mmdebstrap -q --variant=minbase --include="$include" --aptopt='Acquire::Check-Valid-Until "false"' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" - "$mirror"
  else
    is_root || die "debootstrap needs root; as root run: bash scripts/base_image.sh"
    debootstrap --variant=minbase --include="$include" "$suite" "$work/root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 15 "$work/debootstrap.log" >&2 && return 1; }
    tar -C "$work/root" --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' \
      --exclude='./var/cache/apt/archives/*.deb' -c .
  fi
}

# Leaves the OS under the tag $os and says where it came from. The tag is taken off again when this script ends.
make_os_image() {
  local suite mirror
  if image_exists "$OS_IMAGE"; then
    say "starting from $OS_IMAGE (already here)"
    "$engine" tag "$OS_IMAGE" "$os"
  elif pull_os_image; then
    say "starting from $OS_IMAGE (pulled)"
    "$engine" tag "$OS_IMAGE" "$os"
  else
    suite=$(os_suite)
    say "no registry answers for $OS_IMAGE; making a $suite from this machine's apt mirror"
    is_debian_family || die "no registry answers and this is not Debian or Ubuntu; load $OS_IMAGE into $engine, then run this again"
    ensure_bootstrap_tool
    mirror=$(apt_mirror "$suite")
    bootstrap_os "$suite" "$mirror" | "$engine" import --change "LABEL $LABEL" --change 'CMD ["bash"]' - "$os" >/dev/null
  fi
}

ask_image() { "$engine" run --rm --network none "$os" python3 -c "$1"; }

# Prints a Python whose pip can install for the image; any recent one will do.
pip_python() {
  local python
  for python in python3 /usr/bin/python3 "$here/../.venv/bin/python" "$here/../.venv-test/bin/python"; do
    "$python" -m pip --version >/dev/null 2>&1 && printf '%s\n' "$python" && return 0
  done
  can_apt || die "no python3 with pip on this machine; install pip, then run this again"
  apt_install python3-pip >&2 || return
  printf '/usr/bin/python3\n'
}

# Fills $work/context with site/ (packages, trimmed) and bin/ (their programs) for the Python VERSION of the image.
install_packages() {
  local version=$1 python site=$work/context/site
  python=$(pip_python)
  "$python" -m pip install -qq --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-compile \
    --only-binary=:all: --python-version "$version" --target "$site" "${PACKAGES[@]}" >&2
  mv "$site/bin" "$work/context/bin"
  sed -i '1s|^#!.*|#!/usr/bin/env python3|' "$work"/context/bin/* # pip wrote the path of this machine's Python
  rm -rf "$site/torch/test" "$site/torch/include"
  find "$site/torch/bin" -type f ! -name torch_shm_manager -delete # that one is needed by `import torch`
}

write_dockerfile() {
  local site_packages=$1
  cat >"$work/context/Dockerfile" <<TEXT
FROM $os
LABEL $LABEL
COPY bin/ /usr/local/bin/
COPY site/ $site_packages/
# Compiled by the image's own Python; it exits 1 for torch's code templates, which are no modules.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash $site_packages >/dev/null 2>&1; python3 -c 'import numpy, torch'
TEXT
}

# A client of 23 or newer builds with BuildKit only through buildx; older ones have it built in.
has_buildkit() {
  [ "$engine" != podman ] || return 1
  "$engine" buildx version >/dev/null 2>&1 || [ "$("$engine" version --format '{{.Client.Version}}' | cut -d. -f1)" -lt 23 ]
}

build_image() {
  local buildkit=0
  if has_buildkit; then buildkit=1; fi
  if ! DOCKER_BUILDKIT=$buildkit "$engine" build --network none -t "$name" "$work/context" >"$work/build.log" 2>&1 </dev/null; then
    tail -n 30 "$work/build.log" >&2
    die "$engine build of $name failed; see above"
  fi
}

clean_up() {
  "$engine" rmi "$os" >/dev/null 2>&1 || true
  umount -q "$work/root/proc" "$work/root/sys" 2>/dev/null || true # left by a debootstrap that was interrupted
  rm -rf --one-file-system "$work"
}

make_image() {
  local version site_packages
  work=$(mktemp -d)
  os=madrun/cpu-base-os:${name##*:}
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir "$work/context"
  make_os_image
  version=$(ask_image 'import sys; print("%d.%d" % sys.version_info[:2])')
  site_packages=$(ask_image 'import site; print(site.getsitepackages()[0])')
  say "installing ${PACKAGES[*]} for Python $version"
  install_packages "$version"
  say "building $name"
  write_dockerfile "$site_packages"
  build_image
  say "made $name in $SECONDS s"
}

# Sets $engine to the client of the runtime; dies where its engine does not answer.
find_engine() {
  if [ "$1" = podman ]; then
    bash "$here/podman.sh" >/dev/null || die "no podman; see above"
    use_podman_settings
    unset CONTAINER_HOST # with it podman would send every layer through its socket
    engine=podman
  else
    engine=$(docker_client) || die "no docker engine answers; run first: bash scripts/engine.sh"
  fi
}

# A copy takes a third of the time of a new one. podman calls images without a registry localhost/NAME.
copy_from_docker() {
  local docker
  docker=$(docker_client) && "$docker" image inspect "$name" >/dev/null 2>&1 || return 1
  say "copying $name from docker to podman"
  "$docker" save "$name" | podman load -q >&2
}

main() {
  local runtime=docker print_only=0
  while [ $# -gt 0 ]; do
    case "$1" in
      --name) print_only=1 && shift ;;
      --runtime) runtime=${2:-} && shift "$(($# > 1 ? 2 : 1))" ;;
      -h | --help) usage && return 0 ;;
      *) usage >&2 && return 2 ;;
    esac
    case "$runtime" in docker | podman) ;; *) usage >&2 && return 2 ;; esac
  done
  name=$(image_name)
  if [ "$print_only" = 1 ]; then
    printf '%s\n' "$name"
    return 0
  fi
  find_engine "$runtime"
  if ! image_exists "$name"; then
    exec 9>"${TMPDIR:-/tmp}/madrun-base-image-$runtime.$(id -u).lock"
    flock -n 9 || { say "another base_image.sh is making it; waiting" && flock 9; }
    image_exists "$name" || { [ "$runtime" = podman ] && copy_from_docker; } || make_image
  fi
  printf '%s\n' "$name"
}

main "$@"
