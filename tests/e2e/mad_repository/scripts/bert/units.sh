#!/bin/bash
echo "performance: 12.5 /sec, tokens"
