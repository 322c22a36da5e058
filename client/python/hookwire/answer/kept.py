"""What a model keeps from its runs for later ones."""

from __future__ import annotations

from hookwire.answer.blueprint import Blueprints
from hookwire.answer.memory import Memory


class Kept:
    """What runs of one model share. Safe to use from several threads.

    Attributes:
        blueprints: what the latest plans said.
        memory: what arrays are made of.
    """

    def __init__(self) -> None:
        self.blueprints = Blueprints()
        self.memory = Memory()
