# CPU image: any base with python3. A base that already has torch and numpy is taken as it is, without network.
ARG BASE_DOCKER=python:3.11-slim
FROM ${BASE_DOCKER}
RUN python3 -c 'import torch, numpy' 2>/dev/null || python3 -m pip install --no-cache-dir torch==2.13.0 numpy
