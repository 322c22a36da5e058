"""Fixtures of the parity tests, for checkpoints on other devices."""

from tests.parity.conftest import _threads, directory_of, reference_of

__all__ = ["_threads", "directory_of", "reference_of"]
