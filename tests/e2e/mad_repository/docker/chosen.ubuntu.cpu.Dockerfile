# CONTEXT {'gpu_vendor': 'CPU', 'ctx_test': 'chosen'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
ENV FLAVOR=chosen
