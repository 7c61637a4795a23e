#!/usr/bin/env bash
# All checks of the project, set-up included: bash scripts/test.sh [--fast] [-- PYTEST_ARGS...]
# --fast needs no docker engine, no base image and no torch; --long adds the tests marked `long`. With CI=true a skipped
# test or a missing part is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

readonly QUICK="not e2e and not torch and not docker" REAL="(e2e or torch or docker)"
readonly VENV=.venv-test APT_PACKAGES=(docker-compose docker-registry git iproute2 libfaketime openssh-server procps python3-venv rsync shellcheck) TEST_USER=madrun-test
readonly SLURM_PACKAGES=(mariadb-server-core munge slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin slurmctld slurmd slurmdbd)

usage() {
  cat <<'TEXT'
usage: bash scripts/test.sh [--fast | --long] [-- PYTEST_ARGS...]
Runs ruff, mypy, lint-imports, shellcheck and pytest in .venv-test and ends with the list of skipped tests.
--fast leaves out the tests that need docker or torch, and their set-up.
--long adds the tests that take minutes for what they add to others; without it they are left out.
TEXT
}

failed=() once_more=()

in_ci() { [ "${CI:-}" = true ]; }

# A part of the set-up that cannot be had: a line here, and in CI a failure of the step.
lack() {
  say "LACKING: $*"
  ! in_ci
}

# step NAME COMMAND...: runs it, prints its name and seconds, remembers a failure and goes on. `set -e` does not hold in
# what a step calls, so the functions below return their failures themselves.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  "$@" || status=$?
  printf '== %s: %s (%d s)\n' "$name" "$([ "$status" = 0 ] && echo ok || echo "FAILED, exit $status")" $((SECONDS - start))
  if [ "$status" != 0 ]; then failed+=("$name"); fi
}

# No daemon of a package starts: the tests start their own.
without_daemons() {
  local policy=/usr/sbin/policy-rc.d made=0 status=0
  if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; fi
  "$@" || status=$?
  [ "$made" = 0 ] || rm -f "$policy"
  return "$status"
}

# install_apt_packages PACKAGE...: those that are missing.
install_apt_packages() {
  local package missing=()
  is_debian_family || return 0
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then return 0; fi
  if is_root; then without_daemons apt_install "${missing[@]}"; else say "not root, so not installed: ${missing[*]}"; fi
}

# install_extras EXTRAS: by uv in a third of pip's time, but for torch: pip knows where this machine has its build of it.
# Not compiled here: the first import of a module does that, and most of them are never imported.
install_extras() {
  local pip=("$VENV/bin/python" -m pip install -qq --no-compile --disable-pip-version-check) quick=${1/,torch/}
  if "${pip[@]}" uv && "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" -e ".[$quick]" && [ "$quick" = "$1" ]; then
    return 0
  fi
  "${pip[@]}" -e ".[$1]"
}

# Installs the package, editable, with EXTRAS; again only when pyproject.toml changed.
install_venv() {
  local extras=$1 stamp=$VENV/madrun-$1 hash
  hash=$(sha256sum <pyproject.toml)
  ensure_venv "$VENV" || return
  if [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then return 0; fi
  install_extras "$extras" && printf '%s\n' "$hash" >"$stamp"
}

# Some tests run madrun as an ordinary member of group docker.
ensure_test_user() {
  if ! is_root || ! getent group docker >/dev/null; then
    lack "root and a group docker, to make the ordinary user for some tests"
    return
  fi
  id "$TEST_USER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$TEST_USER" || return
  usermod -aG docker "$TEST_USER" || return
  if ! grep -qs "^$TEST_USER:" /etc/subuid; then
    usermod --add-subuids 200000-265535 --add-subgids 200000-265535 "$TEST_USER" || return
  fi
  export MADRUN_TEST_USER=$TEST_USER
}

# Sets $markers to what this machine can run.
set_up_engine() {
  local image
  if ! bash scripts/engine.sh; then
    markers="not e2e and not docker"
    lack "a docker engine; the tests marked docker and e2e are left out"
    return
  fi
  image=$(bash scripts/base_image.sh) || return
  export MADRUN_TEST_BASE_IMAGE=$image
  bash scripts/podman.sh >/dev/null || lack "podman; its tests are skipped" || return
  ensure_test_user
}

# The image of the tests of mpirun, accelerate and deepspeed: made while the quick tests run, and waited for after them.
start_runners_image() {
  if [ -z "${MADRUN_TEST_BASE_IMAGE:-}" ]; then return 0; fi
  bash scripts/runners_image.sh >"$work/runners-image" 2>"$work/runners-image.log" </dev/null &
  runners_image=$!
}

await_runners_image() {
  if [ -z "${runners_image:-}" ]; then return 0; fi
  if ! wait "$runners_image"; then
    cat "$work/runners-image.log" >&2
    lack "the image with mpirun, accelerate and deepspeed; its tests are skipped"
    return
  fi
  cat "$work/runners-image.log" "$work/runners-image" >&2
}

# Pytest rewrites the modules of tests at their first import: once, beside the checks, and not in each worker at once.
start_reading_tests() {
  "$VENV/bin/python" -m pytest --collect-only -qq >/dev/null 2>&1 </dev/null &
  reading=$!
}

check_shell() {
  if has shellcheck; then
    find scripts .ci models -type f \( -name '*.sh' -o -path .ci/run \) -exec shellcheck -x {} +
  else
    lack "shellcheck; the shell scripts are not checked"
  fi
}

# run_pytest NAME MARKERS ARGS...: the results go to $work/NAME.xml.
run_pytest() {
  local args=(--junitxml="$work/$1.xml" -rfEsX)
  if [ -n "$2" ]; then args+=(-m "$2"); fi
  shift 2
  "$VENV/bin/python" -m pytest "${args[@]}" "$@"
}

# These wait more than they compute, so several at a time.
run_quick_tests() {
  run_pytest quick "$1" "${several[@]}" "${@:2}"
}

# Those marked `beside` bear the company of each other, several at a time; the rest comes one after the other. What happens
# on nodes of their own, with engines and addresses of their own (`bed`), goes on beside both. What looks at all that runs
# on this host (`alone`) comes last.
run_real_tests() {
  local all="$REAL${markers:+ and ($markers)}" status=0 beds
  if [ "$long" = 0 ]; then
    all="$all and not long"
    say "tests marked long are left out; scripts/test.sh --long runs them too"
  fi
  run_pytest beds "$all and bed" >"$work/beds.log" 2>&1 </dev/null &
  beds=$!
  run_pytest beside "$all and beside" -n "$(($(nproc) + 1))" --dist loadfile || worse $?
  run_pytest real "$all and not (beside or bed or alone)" || worse $?
  wait "$beds" || worse $?
  cat "$work/beds.log"
  run_pytest alone "$all and alone" || worse $?
  [ "$status" != 1 ] || run_once_more || return 1
  [ "$status" -le 1 ]
}

# Pytest ends with 1 for tests that failed, and with more where it could not run them.
worse() { if [ "$1" -gt "$status" ]; then status=$1; fi; }

# One or two that failed among all others are run once more, alone: a machine that others use stands still now and then.
# What passes then is named at the end. More than two are no accident.
run_once_more() {
  local names
  names=$("$VENV/bin/python" scripts/failed_tests.py "$work"/{beds,beside,real,alone}.xml) || return 1
  mapfile -t once_more <<<"$names"
  if [ ${#once_more[@]} -gt 2 ] || [ -z "$names" ]; then return 1; fi
  printf '\n== failed, and now once more, alone: %s\n' "${once_more[*]}"
  run_pytest again "" "${once_more[@]}"
}

list_skips() {
  if ! compgen -G "$work/*.xml" >/dev/null; then echo "pytest wrote no results" && return 1; fi
  "$VENV/bin/python" scripts/skipped_tests.py "$work"/*.xml
}

finish() {
  printf '\n'
  if [ ${#failed[@]} = 0 ]; then
    [ ${#once_more[@]} = 0 ] || printf 'failed at first, see above, and passed alone: %s\n' "${once_more[@]}"
    echo "all steps passed in $SECONDS s"
    return 0
  fi
  echo "failed after $SECONDS s:"
  printf '  %s\n' "${failed[@]}"
  return 1
}

main() {
  fast=0 long=0 markers=
  while [ $# -gt 0 ]; do
    case "$1" in
      --fast) fast=1 && shift ;;
      --long) long=1 && shift ;;
      --) shift && break ;;
      -h | --help) usage && return 0 ;;
      *) usage >&2 && return 2 ;;
    esac
  done
  unset PYTHONDONTWRITEBYTECODE # tests measure start-up as a user has it, with compiled modules
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  if [ "$fast" = 1 ]; then
    step "apt packages" install_apt_packages "${APT_PACKAGES[@]}"
    step "virtual environment" install_venv dev
  else
    step "apt packages" install_apt_packages "${APT_PACKAGES[@]}" "${SLURM_PACKAGES[@]}"
    step "engines and base image" set_up_engine
    step "virtual environment" install_venv dev,torch,clusters
  fi
  [ ${#failed[@]} = 0 ] || finish || return 1
  several=(-n "$(($(nproc) * 2))")
  start_reading_tests
  step "ruff check" "$VENV/bin/ruff" check .
  step "ruff format" "$VENV/bin/ruff" format --check .
  step "mypy" "$VENV/bin/mypy" --strict madrun
  step "lint-imports" "$VENV/bin/lint-imports"
  step "shellcheck" check_shell
  wait "$reading" || say "pytest could not read all tests; it says why below"
  if [ "$fast" = 1 ]; then
    step "quick tests" run_quick_tests "$QUICK and not slow" --hypothesis-profile=brief "$@"
  elif [ $# -gt 0 ]; then
    step "tests" run_pytest all "$markers" "$@"
  else
    start_runners_image
    step "quick tests" run_quick_tests "$QUICK"
    step "runners image" await_runners_image
    step "tests with real parts" run_real_tests
  fi
  step "skipped tests" list_skips
  finish
}

main "$@"
