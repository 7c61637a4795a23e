#!/bin/bash
echo "performance: 1 patience"
