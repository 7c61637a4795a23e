"""Nodes that the system's ssh reaches, as the user has configured it."""
