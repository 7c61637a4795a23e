# CONTEXT {'gpu_vendor': 'CPU', 'guest_os': 'UBUNTU'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
COPY ctx/word.txt /word.txt
