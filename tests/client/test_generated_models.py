"""The calls and the blocking model are what `generate_models.py` makes of their sources."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import Field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import hookwire
import pytest
from hookwire import aio
from hookwire.api import calls

SCRIPT = Path(hookwire.__file__).parents[1] / "generate_models.py"
CALLS = [
    one
    for one in vars(calls).values()
    if isinstance(one, type) and issubclass(one, calls.Call) and "method" in vars(one)
]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_models", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    import sys

    sys.modules["generate_models"] = module
    spec.loader.exec_module(module)
    return module


def test_what_is_committed_is_fresh(generator: ModuleType) -> None:
    stale = [str(path) for path, text in generator.generate().items() if path.read_text() != text]
    assert stale == [], "run python client/python/generate_models.py"


SOURCE = '''
async def read(stream: AsyncResultStream) -> AsyncGenerator[dict[str, int], None]:
    """As `await model.plan(…)` of hookwire.aio.connect says."""
    await prepare()  # asynchronous only
    if waiting:  # asynchronous only
        await sleep()
    async for one in stream:
        yield (await self.next(one)).name
    # blocking: check()


# blocking: @property
async def name(self) -> Coroutine[Any, Any, list[int]]: ...
'''
BLOCKING = '''
def read(stream: ResultStream) -> Generator[dict[str, int], None, None]:
    """As `model.plan(…)` of hookwire.connect says."""
    for one in stream:
        yield self.next(one).name
    check()


@property
def name(self) -> list[int]: ...
'''


def test_what_waits_becomes_what_does_not(generator: ModuleType) -> None:
    assert generator.blocking(SOURCE, "x.py").split("\n", 1)[1] == BLOCKING


def arguments_of(call: type[calls.Call]) -> list[Field[Any]]:
    """The fields of a call that are arguments of its method."""
    return [one for one in fields(call) if one.name not in call.without.split()]


@pytest.mark.parametrize("model", [hookwire.RemoteModel, aio.AsyncRemoteModel])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_the_arguments_of_a_method_are_the_fields_of_its_call(model: type, call: type) -> None:
    given = inspect.signature(getattr(model, call.method)).parameters
    want = {one.name: one for one in arguments_of(call)}
    assert set(given) == {"self", *want}
    by_position = call.by_position.split()
    assert list(given)[1 : 1 + len(by_position)] == by_position
    for name, parameter in list(given.items())[1:]:
        is_keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert is_keyword == (name not in by_position), name
        if name not in ("input", "prompts"):
            assert parameter.default == want[name].default, name


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_what_is_given_reaches_the_call(call: type[calls.Call]) -> None:
    """Each argument, and no other, is passed on under its own name."""
    seen = []

    class Model(hookwire.RemoteModel):
        def __init__(self) -> None:
            """Connects to nothing."""

        def __setattr__(self, name: str, value: object) -> None:
            """Nothing is kept."""

        def _call(self, call: calls.Call) -> None:
            seen.append(call)

        _plan = _map = _stream = _call

    every = arguments_of(call)
    flags = {one.name: not one.default for one in every if isinstance(one.default, bool)}
    given = {one.name: object() for one in every} | flags
    given |= {"prepend_bos": True, "progress": False}
    getattr(Model(), call.method)(**given)
    assert len(seen) == 1
    assert type(seen[0]) is call
    assert {one.name: getattr(seen[0], one.name) for one in every} == given


def test_streams_have_the_same_names() -> None:
    def public(stream: type) -> set[str]:
        return {name.replace("aclose", "close") for name in vars(stream) if name[0] != "_"}

    assert public(aio.AsyncResultStream) == public(hookwire.ResultStream)
    assert {"receipt", "run_id", "close"} == public(hookwire.ResultStream)
