"""Activation patching: see `sweep`.

found = hookwire.patching.sweep(model, clean, corrupted, answer="Mary", against="John")
found.values  # [hook, position]
"""

from hookwire.recipes.patching import METRICS, Sweep, sweep

__all__ = ["METRICS", "Sweep", "sweep"]
