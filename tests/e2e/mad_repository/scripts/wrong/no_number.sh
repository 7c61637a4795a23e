#!/bin/bash
echo "trained well"
