#!/bin/sh
# Starts all nodes of launch 20261121T000000Z-one-a1b2c3; every host sees this folder, and has madrun.
beats() { while kill -0 $$ 2>/dev/null && echo; do sleep 2; done; }
beats | ssh -T me@n01 'exec env MADRUN_NODE_RANK=0 MADRUN_MASTER_ADDR=n01 MADRUN_LEASE=stdin sh /repo/results/launches/20261121T000000Z-one-a1b2c3/node.sh' & node_0=$!
beats | ssh -T me@n02 'exec env MADRUN_NODE_RANK=1 MADRUN_MASTER_ADDR=n01 MADRUN_LEASE=stdin sh /repo/results/launches/20261121T000000Z-one-a1b2c3/node.sh' &
beats | ssh -T me@n03 'exec env MADRUN_NODE_RANK=2 MADRUN_MASTER_ADDR=n01 MADRUN_LEASE=stdin sh /repo/results/launches/20261121T000000Z-one-a1b2c3/node.sh' &
wait "$node_0"; code=$?
wait
exit "$code"
