#!/usr/bin/env bash
# Found where the image has no program of this name on its PATH: the same as a module of python3.
#   --ready    whether python3 has that module; nothing is started
name=${0##*/}
case $name in
  torchrun) package=torch module=torch.distributed.run ;;
  accelerate) package=accelerate module=accelerate.commands.accelerate_cli ;;
  deepspeed) package=deepspeed module=deepspeed.launcher.runner ;;
  *) echo "madrun: no module is known for $name" >&2; exit 127 ;;
esac
has() { python3 -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$package') is None)" 2>/dev/null; }
if ! has; then
  echo "madrun: no $name on PATH, and python3 has no module $package; install it in the image" >&2
  exit 127
fi
[[ ${1-} == --ready ]] && exit 0
echo "madrun: no $name on PATH; starting python3 -m $module in its place" >&2
exec python3 -m "$module" "$@"
