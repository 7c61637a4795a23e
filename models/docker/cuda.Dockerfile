# NVIDIA image: the base brings python3, torch, numpy, CUDA and NCCL, which is all the cards need.
ARG BASE_DOCKER=nvcr.io/nvidia/pytorch:25.10-py3
FROM ${BASE_DOCKER}
