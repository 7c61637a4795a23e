#!/bin/bash
# Two tools and the encapsulating text: the last tool stands outermost, so what stands further in has the last word.
set -euo pipefail
. ./expect.sh
expect tools "${INNER_TOOL-unset} ${OUTER_TOOL-unset}" "yes yes"
expect order "${ORDER-unset} ${WRAPPED-unset}" "inner yes"
expect variables "${TOOL_WORD-unset}" "from the context"
expect pre "$(cat tool.mark)" "tool outer"
echo "performance: 1 option"
