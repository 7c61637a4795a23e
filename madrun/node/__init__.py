"""The agent of one node: join, barrier, lease, watch, collect. The same agent whatever launched it."""
