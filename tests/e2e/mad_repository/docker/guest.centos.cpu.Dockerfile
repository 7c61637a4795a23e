# CONTEXT {'gpu_vendor': 'CPU', 'guest_os': 'CENTOS'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
ENV FLAVOR=centos
