#!/bin/bash
# Under `set -u` a variable that is not given at all ends the script; an empty one does not.
set -euo pipefail
. ./expect.sh
expect name "$MAD_MODEL_NAME" variables
expect vendor "$MAD_GPU_VENDOR" CPU
expect build "$JENKINS_BUILD_NUMBER" 77
expect csv "$MAD_OUTPUT_CSV" perf_variables.csv
for name in MAD_SYSTEM_NGPUS MAD_SYSTEM_GPU_ARCHITECTURE MAD_SYSTEM_HIP_VERSION MAD_SYSTEM_GPU_PRODUCT_NAME \
  MAD_RUNTIME_NGPUS MAD_MULTI_NODE_RUNNER MAD_GUEST_OS MASTER_ADDR MASTER_PORT NNODES NODE_RANK NPROC_PER_NODE; do
  [[ -v $name ]] || { echo "$name is not set" >&2; exit 42; }
done
expect forwarded "${NCCL_DEBUG-unset} ${MIOPEN_USER_DB_PATH-unset}" "WARN /tmp/miopen"
expect token "${#MAD_SECRETS_HFTOKEN} ${#ZOO_MAD_SECRETS_KEY}" "25 9"
expect "env_vars of a card are not for local runs" "${ZOO_ENV_VAR-unset}" unset
expect datahome "${MAD_DATAHOME-unset}" unset
printf 'model,performance,metric\nall,12,variables\n' > "$MAD_OUTPUT_CSV"
