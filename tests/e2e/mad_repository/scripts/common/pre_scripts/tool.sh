#!/bin/bash
echo "tool $1" > tool.mark
