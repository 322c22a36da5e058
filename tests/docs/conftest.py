"""Fixtures: a daemon on the toy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.daemon import ROOT, hookwired

TOY = ROOT / "toy" / "checkpoint"


@pytest.fixture(scope="session")
def toy() -> Iterator[str]:
    """Its address."""
    with hookwired(TOY, numerics="fast", dtype="float32", threads=1) as address:
        yield address
