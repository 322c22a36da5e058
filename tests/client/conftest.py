"""Fixtures of the client's tests: a fake server with a tokenizer, and a model connected to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import hookwire
import pytest

from tests.client import tokenizers_zoo
from tests.client.fake_server import FakeServer

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def tokenizer_files() -> dict[str, bytes]:
    config = {**tokenizers_zoo.FAST, **tokenizers_zoo.NAMED}
    return {
        "tokenizer.json": tokenizers_zoo.word_level().to_str().encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
    }


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer(tokenizer_files())
    yield server
    server.stop()


@pytest.fixture
def model(server: FakeServer) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(server.address, tensors="numpy", quiet=True) as model:
        yield model
