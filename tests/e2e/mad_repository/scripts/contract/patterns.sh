#!/bin/bash
# `FAILED` is benign for this card, `zoo-alarm` is not.
echo "0 tests FAILED"
echo "zoo-alarm: the water is cold"
echo "performance: 5 fish"
