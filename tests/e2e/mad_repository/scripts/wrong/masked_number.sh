#!/bin/bash
python3 -c 'import no_such_module' |& tee train.log
echo "performance: 8 tokens"
