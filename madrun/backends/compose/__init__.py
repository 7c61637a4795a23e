"""The compose backend."""
