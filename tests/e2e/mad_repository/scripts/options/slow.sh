#!/bin/bash
echo "performance: 1 nap"
sleep 1
