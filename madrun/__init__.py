"""madrun runs ML benchmarks in containers on one or many nodes and says whether to believe the number."""

__version__ = "0.1.0"
