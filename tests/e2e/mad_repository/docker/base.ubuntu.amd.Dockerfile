# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
RUN exit 91 # never built on a machine without an AMD GPU
