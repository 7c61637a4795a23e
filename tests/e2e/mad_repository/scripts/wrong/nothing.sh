#!/bin/bash
echo "wrote no CSV today"
