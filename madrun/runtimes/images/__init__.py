"""Images of the plan: found, pulled or built, and known by an identity that two nodes can compare."""

from madrun.runtimes.images.ensure import Prepared, ensure
from madrun.runtimes.images.identity import BASES, IDENTITY, OWNER, RECIPE, identity_of
from madrun.runtimes.images.place import BuildKitClient, Place
from madrun.runtimes.images.policy import Policy
from madrun.runtimes.images.watch import Line, Stop, Watch

__all__ = [
    "BASES",
    "IDENTITY",
    "OWNER",
    "RECIPE",
    "BuildKitClient",
    "Line",
    "Place",
    "Policy",
    "Prepared",
    "Stop",
    "Watch",
    "ensure",
    "identity_of",
]
