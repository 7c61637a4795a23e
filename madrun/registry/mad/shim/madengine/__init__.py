"""The import names that generators of cards expect; what else an installed package of this name has stays reachable."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
