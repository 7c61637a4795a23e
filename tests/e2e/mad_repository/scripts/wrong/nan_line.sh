#!/bin/bash
echo "performance: nan loss"
