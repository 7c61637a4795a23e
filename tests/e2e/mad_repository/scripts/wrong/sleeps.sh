#!/bin/bash
echo "performance: 1 dream"
sleep 60
