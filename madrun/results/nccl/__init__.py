"""What NCCL and RCCL print while they start."""
