# CONTEXT {'gpu_vendor': 'CPU', 'guest_os': 'UBUNTU'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
RUN echo "no such wheel: zoo==9.9" >&2; exit 7
