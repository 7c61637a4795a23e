#!/usr/bin/env bash
# Found where the image has no program of this name on its PATH: the same as a module of python3.
#   --ready    whether python3 has that module; nothing is started
# Its own variables begin with _: a name that is the user's would reach the rank with another value.
_name=${0##*/}
case $_name in
  torchrun) _package=torch _module=torch.distributed.run ;;
  accelerate) _package=accelerate _module=accelerate.commands.accelerate_cli ;;
  deepspeed) _package=deepspeed _module=deepspeed.launcher.runner ;;
  *) echo "madrun: no module is known for $_name" >&2; exit 127 ;;
esac
has() { python3 -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$_package') is None)" 2>/dev/null; }
if ! has; then
  echo "madrun: no $_name on PATH, and python3 has no module $_package; install it in the image" >&2
  exit 127
fi
[[ ${1-} == --ready ]] && exit 0
echo "madrun: no $_name on PATH; starting python3 -m $_module in its place" >&2
exec python3 -m "$_module" "$@"
