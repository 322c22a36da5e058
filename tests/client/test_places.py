"""A hook at a place that there is not is refused when it is given, before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops

from tests.client.fake_server import FakeServer
from tests.client.test_daemon import daemon

IDS = [[3, 1, 4]]


@pytest.fixture(scope="module")
def toy() -> Iterator[hookwire.RemoteModel]:
    with (
        daemon("--numerics", "reference") as address,
        hookwire.connect(address, tensors="numpy", quiet=True) as model,
    ):
        yield model


def enter(model: Any, where: Any) -> None:
    with model.hooks(fwd_hooks=[("hook_embed", ops.zero()), (where, ops.zero())]):
        raise AssertionError("the block was entered")


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "add_hook": lambda m, where: m.add_hook(where, ops.zero()),
    "add_perma_hook": lambda m, where: m.add_perma_hook(where, ops.zero()),
    "a list": lambda m, where: m.add_hook(["hook_embed", where], ops.zero()),
    "hooks": enter,
    "hooks by position": lambda m, where: m.hooks([(where, ops.zero())]).__enter__(),
}
NAMES = (
    ("blocks.99.hook_resid_post", "layers 0 to 5; did you mean 'blocks.5.hook_resid_post'"),
    ("blocks.-1.hook_resid_post", "layers 0 to 5; did you mean 'blocks.0.hook_resid_post'"),
    ("blocks.3.hook_resid_pst", "did you mean 'blocks.3.hook_resid_post'?"),
    ("resid_post", "did you mean 'blocks.*.hook_resid_post'?"),
    ("nope", "model.hook_dict"),
    ("blocks.*.nope", "blocks.*.nope"),
)


@pytest.mark.parametrize("way", WAYS)
def test_the_server_says_why(toy: hookwire.RemoteModel, way: str) -> None:
    for name, _ in NAMES:
        with pytest.raises(hookwire.HookwireError) as said:
            toy.run_with_hooks(IDS, fwd_hooks=[(name, ops.zero())])
        with pytest.raises(type(said.value)) as caught:
            WAYS[way](toy, name)
        assert f" (fwd_hooks[0]: {name!r}, ops.zero())" in str(said.value)
        assert str(caught.value) == str(said.value).partition(" (fwd_hooks[0]")[0]
        assert caught.value.suggestion == said.value.suggestion
    with pytest.raises(hookwire.AbsentHookError, match="reuses the keys and values of layer"):
        WAYS[way](toy, "blocks.5.attn.hook_k")
    assert toy._hooks_in_force() == ()


async def test_so_it_is_for_the_asynchronous_twin(toy: hookwire.RemoteModel) -> None:
    async with await aio.connect(toy.server.address, quiet=True) as twin:
        for way in WAYS.values():
            with pytest.raises(hookwire.HookNotFoundError, match="layers 0 to 5"):
                way(twin, "blocks.99.hook_resid_post")


@pytest.mark.parametrize(("name", "hint"), NAMES)
def test_the_dictionary_of_hook_points_says_it_too(
    toy: hookwire.RemoteModel, name: str, hint: str
) -> None:
    with pytest.raises(KeyError) as caught:
        toy.hook_dict[name]
    assert hint in str(caught.value)


def test_what_is_no_name(toy: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.ArgumentTypeError, match=r"by its name, .* not by 3"):
        toy.hook_dict[3]  # type: ignore[index]
    with pytest.raises(hookwire.HookNotFoundError, match="is empty"):
        toy.hook_dict[""]
    for way, what in (("add_hook", "name"), ("hooks", r"the place of fwd_hooks\[1\]")):
        with pytest.raises(hookwire.ArgumentTypeError, match=f"^{what} must be that of a hook"):
            WAYS[way](toy, 5)
        with pytest.raises(hookwire.GlobNoMatchError, match="empty list"):
            WAYS[way](toy, [])
        with pytest.raises(hookwire.GlobNoMatchError, match="the function matches none"):
            WAYS[way](toy, lambda name: False)


def test_without_the_server_it_is_said_as_well(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    model.catalogue()
    server.stop()
    with pytest.raises(hookwire.HookNotFoundError, match="did you mean 'hook_embed'"):
        model.add_hook("hook_embd", ops.zero())


@pytest.mark.parametrize(
    "where",
    [
        "blocks.2.hook_resid_post",
        "blocks.*.hook_resid_post",
        lambda n: n.endswith("2.hook_resid_post"),
    ],
)
def test_a_function_is_blamed_by_the_name_that_the_user_knows(
    toy: hookwire.RemoteModel, where: Any
) -> None:
    """It is an alias: the hook point's own name is blocks.2.hook_out."""

    def wrong(tensor: Any, hook: hookwire.Hook) -> Any:
        return tensor[:, 1:] if hook.layer() == 2 else None

    with pytest.raises(
        hookwire.ValueShapeError, match=r"^the function at blocks\.2\.hook_resid_post returned"
    ) as caught:
        toy.run_with_hooks(IDS, fwd_hooks=[(where, wrong)])
    assert caught.value.hook == "blocks.2.hook_out"


def test_a_deadline_counts_the_layers_that_a_function_has_seen(toy: hookwire.RemoteModel) -> None:
    def slow(tensor: Any, hook: hookwire.Hook) -> None:
        time.sleep(3)

    with pytest.raises(hookwire.DeadlineError) as caught:
        toy.run_with_hooks(IDS, fwd_hooks=[("blocks.3.hook_resid_post", slow)], timeout=2)
    said = str(caught.value)
    assert said.startswith("the run took longer than its timeout of 2 s: 3 of 6 layers had been")
    assert said.endswith(
        "the last hook function that was called is the one at blocks.3.hook_resid_post"
    )


def test_tokens_of_a_residual_stream_are_not_called_the_input(toy: hookwire.RemoteModel) -> None:
    stream = toy(IDS, stop_at_layer=2)
    for tokens, said in (
        ([], "tokens is an empty list"),
        (1.5, "tokens must be text or token ids"),
        ([[1], [2.5, 3]], "row 1 of tokens must be token ids"),
        ([[-1, 2, 3]], "tokens has -1"),
        (3, r"tokens must be text or token ids in a list, not a single id: \[\[3\]\]"),
    ):
        with pytest.raises(hookwire.HookwireError, match=f"^{said}"):
            toy(stream, start_at_layer=2, tokens=tokens)


def test_a_list_of_places_is_a_place(server: FakeServer, model: hookwire.RemoteModel) -> None:
    places = ["blocks.0.hook_in", "blocks.1.hook_*"]
    want = model.run_with_hooks(IDS, fwd_hooks=[(places, ops.zero())])
    with model.hooks([(places, ops.zero())]):
        assert np.array_equal(model(IDS), want)
    model.add_hook(places, ops.zero())
    assert np.array_equal(model(IDS), want)
    assert model.reconnect() is False
    assert np.array_equal(model(IDS), want)


def test_a_short_name_with_its_layer_is_a_place(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    full = "blocks.1.hook_resid_post"
    want = model.run_with_hooks(IDS, fwd_hooks=[(full, ops.zero())])
    assert not np.array_equal(want, model(IDS))
    last = server.specs[0].interventions[0].hook
    for where in (("resid_post", 1), ("resid_post", np.int64(1)), [("resid_post", 1)]):
        assert np.array_equal(model.run_with_hooks(IDS, fwd_hooks=[(where, ops.zero())]), want)
        assert server.specs[-1].interventions[0].hook == last
        with model.hooks([(where, ops.zero())]):
            assert np.array_equal(model(IDS), want)
        model.add_hook(where, ops.zero())
        assert np.array_equal(model(IDS), want)
        model.reset_hooks()
    assert model.hook_dict["resid_post", 1] is model.hook_dict[full]
    n_layers = model.cfg.n_layers
    assert model.hook_dict["resid_post", 1 - n_layers] is model.hook_dict[full]
    every = model.hook_dict
    assert ("resid_post", 1) in every
    assert every.get(("resid_post", 1)) is every[full]
    for absent in (("resid_post", 99), ("resid_pst", 1)):
        assert absent not in every
        assert every.get(absent) is None
    for call in (
        lambda where: model.hook_dict[where],
        lambda where: model.add_hook(where, ops.zero()),
        lambda where: model.run_with_hooks(IDS, fwd_hooks=[(where, ops.zero())]),
        lambda where: model.run_with_cache(IDS, names_filter=where),
    ):
        with pytest.raises(hookwire.HookNotFoundError, match=r"99\): the model has layers 0 to "):
            call(("resid_post", 99))
        with pytest.raises(hookwire.HookNotFoundError, match=r"blocks\.1\.hook_resid_pst"):
            call(("resid_pst", 1))


def test_an_error_of_the_server_has_the_name_that_the_user_knows(toy: hookwire.RemoteModel) -> None:
    name, glob = "blocks.3.hook_resid_post", "blocks.*.hook_resid_post"
    short = ops.set(np.zeros(63, np.float32))
    seen: list[str] = []
    toy.run_with_hooks(IDS, fwd_hooks=[(("resid_post", 3), lambda x, hook: seen.append(hook.name))])
    assert seen == ["blocks.3.hook_out"]
    for where, what, said in (
        (name, short, f"the selected slice of {name} in row 0"),
        (("resid_post", 3), short, f"the selected slice of {name} in row 0"),
        (["hook_embed", name], short, "the selected slice of hook_embed in row 0"),
        ([name, "hook_embed"], short, f"the selected slice of {name} in row 0"),
        (glob, short, "the selected slice of blocks.0.hook_resid_post in row 0"),
        ("blocks.3.hook_*", short, "the selected slice of blocks.3."),
        (name, ops.set(float("nan")), f"set allow_non_finite if {name} is to take it"),
        (name, lambda x, hook: x * float("nan"), f"gave back at {name} for row 0"),
        (name, ops.set(1.0, head=1), f"{name} has no heads"),
        (name, ops.set(1.0, feature=999), f"out of range in {name}, whose"),
    ):
        with pytest.raises(hookwire.HookwireError) as caught:
            toy.run_with_hooks(IDS, fwd_hooks=[(where, what)])
        assert said in str(caught.value)
        assert "hook_out" not in str(caught.value).partition(" (fwd_hooks")[0]
    for names in (name, ("resid_post", 3), ["hook_embed", name]):
        with pytest.raises(hookwire.ResultTooLargeError, match=rf"largest: .*{name} \(") as large:
            toy.run_with_cache(IDS, names_filter=names, max_result_bytes=10)
        assert "hook_out (" not in str(large.value)
    for call in (
        lambda: toy.run_with_cache(IDS, names_filter=["hook_embed", name], stop_at_layer=1),
        lambda: toy.run_with_cache(IDS, names_filter=("resid_post", 3), stop_at_layer=1),
        lambda: toy.plan(IDS, name, stop_at_layer=1),
        lambda: list(toy.stream(IDS, name, stop_at_layer=1)),
        lambda: toy.run_with_hooks(IDS, fwd_hooks=[(name, ops.zero())], stop_at_layer=1),
    ):
        with pytest.raises(hookwire.NeverFiresError, match=f"^{name} never fires") as never:
            call()
        assert never.value.hook == "blocks.3.hook_out"
        assert "blocks.3.hook_out never fires" in never.value.metadata["server_message"]


@pytest.mark.parametrize(
    "name", ["blocks.{1,2}.hook_out", "blocks.[12].hook_out", r"blocks\.1.hook_out"]
)
def test_patterns_of_other_kinds_are_told_which_there_are(
    toy: hookwire.RemoteModel, name: str
) -> None:
    said = r"only \* and \*\* stand for parts of a name"
    for call in (
        lambda: toy.run_with_cache(IDS, names_filter=name),
        lambda: toy.run_with_hooks(IDS, fwd_hooks=[(name, ops.zero())]),
        lambda: toy.add_hook(name, ops.zero()),
        lambda: toy.hook_dict[name],
    ):
        with pytest.raises((hookwire.HookNotFoundError, hookwire.GlobNoMatchError), match=said):
            call()
    with pytest.raises(hookwire.HookNotFoundError) as caught:
        toy.run_with_cache(IDS, names_filter="blocks.1.hook_ot")
    assert "stand for" not in str(caught.value)
