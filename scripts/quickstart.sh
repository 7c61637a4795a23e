#!/usr/bin/env bash
# From a fresh clone to measured numbers: bash scripts/quickstart.sh [--runtime docker|podman]
# Installs madrun into .venv, gets an engine (docker unless podman is asked for) and a CPU base image where there is no GPU, runs two cards on one
# node and then on two nodes of this machine, and reports. Prints each madrun command before it runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

readonly MADRUN=.venv/bin/madrun SITE=madrun-site.yaml
readonly SITE_HEAD='# made by scripts/quickstart.sh; delete this line to keep your own changes'
readonly CARDS=(sanity llama2_7b_tiny)

usage() {
  cat <<'TEXT'
usage: bash scripts/quickstart.sh [--runtime docker|podman]
Sets madrun up in .venv and runs the cards sanity and llama2_7b_tiny on one node, then on two nodes of this machine.
Exit 0 only when every run succeeded. As root on Debian or Ubuntu it also installs what is missing; else it says what.
TEXT
}

has_gpu() { [ -e /dev/nvidia0 ] || grep -qsv '^0$' /sys/class/kfd/kfd/topology/nodes/*/gpu_id; }

# Changes whenever something that goes into the installed package does.
source_hash() {
  find madrun models data.json pyproject.toml -type f ! -path '*/__pycache__/*' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# Installs the package with EXTRAS ("" or "[torch]"); not editable, so that pip compiles it and madrun starts fast.
install_madrun() {
  local extras=$1 stamp
  stamp="$(source_hash) $extras"
  ensure_venv .venv
  if [ "$(cat .venv/madrun-source 2>/dev/null)" = "$stamp" ]; then
    say "madrun in .venv is up to date"
    return 0
  fi
  say "installing madrun${extras} into .venv"
  .venv/bin/python -m pip install -qq --disable-pip-version-check ".${extras}" >&2
  printf '%s\n' "$stamp" >.venv/madrun-source
}

write_site_file() {
  if [ -e "$SITE" ] && ! head -n 1 "$SITE" | grep -q '^# made by scripts/quickstart.sh'; then
    say "keeping your $SITE; quickstart would have written: $*"
    return 0
  fi
  printf '%s\n' "$SITE_HEAD" "$@" >"$SITE"
  say "wrote $SITE"
}

# Prints a command so that it can be pasted into a shell.
show() {
  local word line='$'
  for word in "$@"; do
    case "$word" in *[!A-Za-z0-9_./:=-]*) line+=" \"$word\"" ;; *) line+=" $word" ;; esac
  done
  printf '\n%s\n' "$line"
}

# Runs in the background and waits, so that Ctrl-C and SIGTERM reach clean_up at once and it can end the children.
run() {
  show "$@"
  "$@" &
  wait "$!"
}

two_node_context() {
  printf "{'multi_node_args': {'RUNNER': 'torchrun', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '29501', "
  printf "'NNODES': '2', 'NODE_RANK': '%s', 'NPROC_PER_NODE': '1'}}" "$1"
}

run_on_two_nodes() {
  local status=0 rank1 command=("$MADRUN" run --tags "${CARDS[@]}" --additional-context)
  printf '\nTwo nodes, both on this machine (node 1 in the background; on real nodes, one command on each):\n'
  show "${command[@]}" "$(two_node_context 1)"
  "${command[@]}" "$(two_node_context 1)" >"$work/node-1.log" 2>&1 &
  rank1=$!
  run "${command[@]}" "$(two_node_context 0)" || status=$?
  if ! wait "$rank1"; then
    status=$([ "$status" = 0 ] && printf 3 || printf %s "$status")
    printf '\nNode 1 failed. Its output:\n'
    cat "$work/node-1.log"
  fi
  return "$status"
}

clean_up() {
  local children
  children=$(jobs -rp)
  # shellcheck disable=SC2086 # one word for each process id
  [ -z "$children" ] || kill -TERM $children 2>/dev/null || true
  wait
  rm -rf "$work"
}

# podman was asked for: madrun is told where its service answers, unless that is where it looks by itself.
set_up_podman() {
  local address image
  address=$(bash scripts/podman.sh)
  install_madrun ''
  if [ "$address" != "unix:///run/podman/podman.sock" ] && [ -z "${XDG_RUNTIME_DIR:-}${CONTAINER_HOST:-}" ]; then
    printf '\n$ export CONTAINER_HOST=%s\n' "$address"
    export CONTAINER_HOST=$address
  fi
  has_gpu && write_site_file 'runtime: podman' && return 0
  image=$(unset CONTAINER_HOST && bash scripts/base_image.sh --runtime podman)
  write_site_file 'runtime: podman' 'docker_build_arg:' "  BASE_DOCKER: localhost/$image"
}

set_up() {
  local image
  if [ "$1" = podman ]; then
    set_up_podman
  elif bash scripts/engine.sh; then
    install_madrun ''
    has_gpu && return 0 # the cards' own images are for GPUs
    image=$(bash scripts/base_image.sh)
    write_site_file 'docker_build_arg:' "  BASE_DOCKER: $image"
  elif has_gpu; then
    die "this machine has a GPU, and the cards' GPU images need a docker engine; get one as said above, then run this again"
  else
    say "going on without containers (runtime: process)"
    install_madrun '[torch]'
    write_site_file 'runtime: process'
  fi
}

main() {
  local runtime=docker
  case "${1:-}" in
    '') ;;
    --runtime) runtime=${2:-} ;;
    -h | --help) usage && return 0 ;;
    *) runtime= ;;
  esac
  [ $# -le 2 ] || runtime=
  case "$runtime" in docker | podman) ;; *) usage >&2 && return 2 ;; esac
  unset PYTHONDONTWRITEBYTECODE # without compiled modules madrun starts several times slower
  work=$(mktemp -d)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  set_up "$runtime"
  run "$MADRUN" run --tags "${CARDS[@]}"
  if has_gpu; then
    say "two nodes on one machine would share its GPUs, so that part is left out; see docs/ for real nodes"
  else
    run_on_two_nodes
  fi
  run "$MADRUN" report
  say "done in $SECONDS s"
}

main "$@"
