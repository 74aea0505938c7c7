"""Hermetic build-and-install toolkit for Kata Containers components.

The version below is the only place that states it; packaging reads it from here.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
