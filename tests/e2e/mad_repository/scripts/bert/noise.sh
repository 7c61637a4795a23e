#!/bin/bash
# A launcher that stumbles while it tidies up; the number is as good as before.
echo "performance: 33 images_per_second"
echo "Traceback (most recent call last)"
echo "RuntimeError: the store is closed already"
