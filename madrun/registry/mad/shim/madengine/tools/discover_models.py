"""The older place of the same names."""

from ..utils.discover_models import CustomModel

__all__ = ["CustomModel"]
