#!/bin/bash
set -euo pipefail
. ./expect.sh
expect "secret of the build" "$(cut -c 1-64 /etc/token.sha256)" "$(printf %s "$MAD_SECRETS_HFTOKEN" | sha256sum | cut -c 1-64)"
expect "credential" "$(cut -c 1-64 /etc/password.sha256)" "$(printf %s "$ZOO_LOGIN_PASSWORD" | sha256sum | cut -c 1-64)"
expect "name" "$(cat /etc/login)" keeper
echo "performance: 1 secret"
