#!/usr/bin/env bash
# Makes the image of the tests that start ranks by mpirun, accelerate and deepspeed, and prints its name, alone, on stdout:
#   bash scripts/runners_image.sh    -> madrun/cpu-runners:0123456789ab
# It is the CPU base image with Open MPI, MPICH (as mpirun.mpich) and OpenSSH of its distribution, accelerate and deepspeed.
# apt works in the image with the sources that the base image carries; pip works on this machine, as for the base image.
# The tag is the hash of the recipe (this file, the base image), so nothing is done when the image is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
. "$here/machine.sh"

readonly OS_PACKAGES="openmpi-bin mpich openssh-client openssh-server"
readonly PACKAGES=("accelerate==1.15.0" "deepspeed==0.19.8")
# What these two need besides torch and numpy, which the base image has: pip would bring another torch.
readonly NEEDED=(einops hjson huggingface_hub msgpack ninja packaging psutil py-cpuinfo pydantic pyyaml safetensors tqdm)
readonly VENV=.venv-test LABEL=madrun.image=runners

usage() {
  cat <<'TEXT'
usage: bash scripts/runners_image.sh [--name]
Makes the CPU image with mpirun, accelerate and deepspeed where it is missing and prints its name, for docker.
--name only prints the name.
TEXT
}

image_name() {
  local hash
  hash=$({ cat "$here/runners_image.sh"; printf '%s\n' "$1"; } | sha256sum)
  printf 'madrun/cpu-runners:%s\n' "${hash:0:12}"
}

image_exists() { "$engine" image inspect "$1" >/dev/null 2>&1; }

ask_base() { "$engine" run --rm --network none "$base" python3 -c "$1"; }

install() { "$here/../$VENV/bin/python" -m pip "$@" -qq --no-cache-dir --disable-pip-version-check >&2; }

# Fills $work/context with site/ (packages) and bin/ (their programs) for the Python VERSION of the image.
install_packages() {
  local version=$1 site=$work/context/site
  ensure_venv "$here/../$VENV"
  # deepspeed is published as source; its operators are compiled when they are used, so the wheel fits every Python.
  DS_BUILD_OPS=0 install wheel --no-deps --wheel-dir "$work/wheels" "${PACKAGES[@]}"
  install install --no-compile --root-user-action=ignore --only-binary=:all: --python-version "$version" \
    --target "$site" "${NEEDED[@]}"
  install install --no-compile --root-user-action=ignore --no-deps --upgrade --only-binary=:all: \
    --python-version "$version" --target "$work/more" "$work"/wheels/*.whl
  cp -r "$work/more/." "$site"
  mv "$site/bin" "$work/context/bin"
  sed -i '1s|^#!.*python.*|#!/usr/bin/env python3|' "$work"/context/bin/* # pip wrote the path of this machine's Python
}

write_dockerfile() {
  local site_packages=$1
  cat >"$work/context/Dockerfile" <<TEXT
FROM $base AS site
COPY site/ /site/
# Compiled by the image's own Python; it exits 1 for templates, which are no modules.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /site -p $site_packages /site >/dev/null 2>&1 || true

FROM $base
LABEL $LABEL
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $OS_PACKAGES && \\
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && update-alternatives --set mpirun /usr/bin/mpirun.openmpi
COPY bin/ /usr/local/bin/
COPY --from=site /site/ $site_packages/
RUN python3 -c 'import accelerate, deepspeed' && mpirun --version && mpirun.mpich --version
TEXT
}

make_image() {
  local version site_packages
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/context"
  version=$(ask_base 'import sys; print("%d.%d" % sys.version_info[:2])')
  site_packages=$(ask_base 'import site; print(site.getsitepackages()[0])')
  say "installing ${PACKAGES[*]} for Python $version"
  install_packages "$version"
  write_dockerfile "$site_packages"
  say "building $name with $OS_PACKAGES"
  if ! "$engine" build --network host -t "$name" "$work/context" >"$work/build.log" 2>&1 </dev/null; then
    tail -n 30 "$work/build.log" >&2
    die "$engine build of $name failed; see above"
  fi
  say "made $name in $SECONDS s"
}

main() {
  local print_only=0
  while [ $# -gt 0 ]; do
    case "$1" in
      --name) print_only=1 && shift ;;
      -h | --help) usage && return 0 ;;
      *) usage >&2 && return 2 ;;
    esac
  done
  if [ "$print_only" = 1 ]; then
    image_name "$(bash "$here/base_image.sh" --name)"
    return 0
  fi
  engine=$(docker_client) || die "no docker engine answers; run first: bash scripts/engine.sh"
  base=$(bash "$here/base_image.sh")
  name=$(image_name "$base")
  if ! image_exists "$name"; then
    exec 9>"${TMPDIR:-/tmp}/madrun-runners-image.$(id -u).lock"
    flock -n 9 || { say "another runners_image.sh is making it; waiting" && flock 9; }
    image_exists "$name" || make_image
  fi
  printf '%s\n' "$name"
}

main "$@"
