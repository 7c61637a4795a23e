#!/bin/bash
# As scripts do: the trace prints the token.
set -ex
export HF_TOKEN=$MAD_SECRETS_HFTOKEN
set +x
echo "performance: 1 login"
