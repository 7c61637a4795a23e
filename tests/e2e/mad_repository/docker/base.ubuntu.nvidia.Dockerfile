# CONTEXT {'gpu_vendor': 'NVIDIA', 'guest_os': 'UBUNTU'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
RUN exit 92 # never built on a machine without an NVIDIA GPU
