# AMD image: the base brings python3, torch, numpy, ROCm and RCCL, which is all the cards need.
ARG BASE_DOCKER=rocm/pytorch:latest
FROM ${BASE_DOCKER}
