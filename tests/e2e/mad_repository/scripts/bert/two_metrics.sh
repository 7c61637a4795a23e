#!/bin/bash
echo "performance: 10 alpha"
echo "noise"
echo "performance: 20 beta"
