#!/usr/bin/env bash
# Found where the image has no torchrun on its PATH: the same program as a module.
echo "madrun: no torchrun on PATH; starting python3 -m torch.distributed.run in its place" >&2
exec python3 -m torch.distributed.run "$@"
