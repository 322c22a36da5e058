"""Checkpoints, references and daemons for the parity tests, each made once a session."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where the daemon and the references share the cores, OpenMP threads that spin after their work
# hold up those of the other side. Has to be set before torch loads libgomp.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from tests.parity.checkpoints import CHECKPOINTS, Checkpoint, write
from tests.parity.daemon import DEVICE, hookwired
from tests.parity.reference import Reference

# Of both sides: bits depend on it. Where test files run side by side, each gets a core.
THREADS = int(
    os.environ.get("HOOKWIRE_PARITY_THREADS") or (1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

# Every checkpoint in the dtype of its weights, and two in the other one.
SERVED = [(name, "auto") for name in CHECKPOINTS] + [
    ("e-odd-fp32", "bfloat16"),
    ("moe-small-bf16", "float32"),
]
# One of each variant and dtype; every hook point of these is written with every op.
WRITTEN = [(name, "auto") for name in CHECKPOINTS if "-small-" in name]


def id_of(served: tuple[str, str]) -> str:
    name, dtype = served
    return name if dtype == "auto" else f"{name}-as-{dtype}"


@pytest.fixture(autouse=True, scope="session")
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def directory_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Checkpoint], Path]:
    """Writes a checkpoint when it is first asked for."""
    root = tmp_path_factory.mktemp("checkpoints")
    return functools.cache(lambda checkpoint: write(checkpoint, root / checkpoint.name))


@pytest.fixture(scope="session")
def reference_of(
    directory_of: Callable[[Checkpoint], Path],
) -> Callable[[Checkpoint, torch.dtype], Reference]:
    """Loads the references of a checkpoint when they are first asked for."""
    return functools.cache(lambda checkpoint, dtype: Reference(directory_of(checkpoint), dtype))


@dataclass(frozen=True)
class Served:
    """A checkpoint behind a daemon, and what it must equal.

    Attributes:
        checkpoint: what it is.
        reference: of the same checkpoint, in the dtype that the daemon computes in.
        model: Hookwire's `RemoteModel`.
    """

    checkpoint: Checkpoint
    reference: Reference
    model: Any


def serve(request: pytest.FixtureRequest, numerics: str, device: str = DEVICE) -> Iterator[Served]:
    """A daemon with the fixture's parameter: a checkpoint's name, and the dtype to compute in."""
    import hookwire

    name, dtype = request.param
    checkpoint = CHECKPOINTS[name]
    reference = request.getfixturevalue("reference_of")(
        checkpoint, DTYPES.get(dtype, checkpoint.dtype)
    )
    directory = request.getfixturevalue("directory_of")(checkpoint)
    with hookwired(
        directory, numerics=numerics, dtype=dtype, threads=THREADS, device=device
    ) as address:
        model = hookwire.connect(address, quiet=True)
        try:
            yield Served(checkpoint, reference, model)
        finally:
            model.close()


@pytest.fixture(scope="session", params=SERVED, ids=id_of)
def exact(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A daemon with `--numerics=reference`, for every checkpoint in turn."""
    yield from serve(request, "reference")


@pytest.fixture(scope="session", params=WRITTEN, ids=id_of)
def exact_small(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A daemon with `--numerics=reference`, for one checkpoint of each variant and dtype."""
    yield from serve(request, "reference")


@pytest.fixture(scope="session", params=SERVED, ids=id_of)
def fast(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A daemon with `--numerics=fast`, for every checkpoint in turn."""
    yield from serve(request, "fast")


@pytest.fixture(params=SERVED, ids=id_of)
def reference(
    request: pytest.FixtureRequest,
    reference_of: Callable[[Checkpoint, torch.dtype], Reference],
) -> tuple[Checkpoint, Reference]:
    """Every checkpoint with its references, without a daemon."""
    name, dtype = request.param
    checkpoint = CHECKPOINTS[name]
    return checkpoint, reference_of(checkpoint, DTYPES.get(dtype, checkpoint.dtype))


@pytest.fixture(params=WRITTEN, ids=id_of)
def small_reference(
    request: pytest.FixtureRequest,
    reference_of: Callable[[Checkpoint, torch.dtype], Reference],
) -> tuple[Checkpoint, Reference]:
    """One checkpoint of each variant and dtype with its references, without a daemon."""
    checkpoint = CHECKPOINTS[request.param[0]]
    return checkpoint, reference_of(checkpoint, checkpoint.dtype)
