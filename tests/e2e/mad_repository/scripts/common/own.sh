#!/bin/bash
echo own
