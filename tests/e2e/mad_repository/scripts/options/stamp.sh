#!/bin/bash
echo "performance: $(cat /stamp) stamp"
