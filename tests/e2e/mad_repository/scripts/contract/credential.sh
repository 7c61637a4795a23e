#!/bin/bash
set -euo pipefail
. ./expect.sh
expect user "$ZOO_LOGIN_USERNAME" keeper
expect length "${#ZOO_LOGIN_PASSWORD}" 18
echo "password is $ZOO_LOGIN_PASSWORD"
echo "performance: 2 credentials"
