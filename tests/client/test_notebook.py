"""What a notebook shows of values, and what its Tab key offers."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import hookwire
import pytest
from hookwire import ops
from hookwire.facts import display

TOKENS = [2, 5, 7]


class Page(HTMLParser):
    """The text of the cells, row by row, and the styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.styles: set[str] = set()
        self.tags: set[str] = set()
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.styles |= {value or "" for name, value in attrs if name == "style"}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def shown(value: Any) -> Page:
    return Page(value._repr_html_())


@pytest.fixture
def cache(model: hookwire.RemoteModel) -> hookwire.ActivationCache:
    _, cache = model.run_with_cache(TOKENS)
    return cache


def double(tensor: Any, hook: hookwire.Hook) -> Any:
    return tensor * 2


def test_a_model_is_shown_with_its_server(model: hookwire.RemoteModel) -> None:
    rows = dict(shown(model).rows)
    assert rows["layers"] == str(model.cfg.n_layers)
    assert model.server.address in rows["server"]


def test_a_plan_is_one_short_line_and_a_table(model: hookwire.RemoteModel) -> None:
    plan = model.plan(TOKENS, fwd_hooks=[("blocks.1.hook_in", ops.zero())])
    assert repr(plan) == f"Plan({str(plan).splitlines()[0]})"
    rows = shown(plan).rows
    assert rows[0] == ["name", "shape", "dtype", "size"]
    first = plan.tensors[0]
    assert rows[1] == [first.name, "×".join(map(str, first.shape)), first.dtype, f"{first.bytes} B"]
    assert rows[-1] == ["blocks.1.hook_in", "changed by ops"]


def test_a_cache_is_one_short_line_and_a_table(cache: hookwire.ActivationCache) -> None:
    names = list(cache)
    assert len(repr(cache)) < 200
    assert repr(cache).endswith(f"… {len(names) - 4} more …, {names[-1]!r}]")
    rows = shown(cache).rows
    tensor = cache[names[0]]
    assert rows[1] == [names[0], "×".join(map(str, tensor.shape)), str(tensor.dtype)]
    assert rows[-1][0] == names[-1]


def test_a_small_cache_names_all_its_keys(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS, names_filter="blocks.*.hook_in")
    keys = "['blocks.0.hook_in', 'blocks.1.hook_in', 'blocks.2.hook_in']"
    assert repr(cache) == f"ActivationCache with keys {keys}"


@pytest.mark.parametrize(("count", "shown_rows"), [(50, 50), (51, 51), (52, 51), (4000, 51)])
def test_a_long_table_shows_its_ends(count: int, shown_rows: int) -> None:
    rows = Page(display.table("numbers", ("number",), [(n,) for n in range(count)])).rows[1:]
    assert len(rows) == shown_rows
    assert rows[0] == ["0"]
    assert rows[-1] == [str(count - 1)]
    assert ([f"… {count - 50} more …"] in rows) == (count > 51)


def test_hook_points_are_one_short_line_and_a_table(model: hookwire.RemoteModel) -> None:
    every = model.hook_points()
    rows = shown(every).rows
    point = model.hook_dict["blocks.1.hook_in"]
    assert [point.name, "batch×pos×4", point.dtype, ", ".join(point.aliases)] in rows
    assert len(rows) == 1 + len(every)
    assert len(repr(every)) < 200
    assert shown(model.hook_dict).rows == rows
    assert len(repr(model.hook_dict)) < 200


def test_a_receipt_is_one_line_and_a_table(cache: hookwire.ActivationCache) -> None:
    receipt = cache.receipt
    assert receipt.run_id in repr(receipt)
    assert len(repr(receipt)) < 250
    assert dict(shown(receipt).rows)["compute_us"] == str(receipt.compute_us)


def test_active_hooks_are_listed_in_their_order(model: hookwire.RemoteModel) -> None:
    assert repr(model.active_hooks()) == "no active hooks"
    model.add_perma_hook("blocks.0.hook_in", ops.scale(2.0))
    with model.hooks([(["blocks.1.hook_in"], double)]):
        active = model.active_hooks()
        assert [one.is_permanent for one in active] == [True, False]
        assert repr(active) == (
            "blocks.0.hook_in: ops.scale(factor=2.0) (permanent)\n['blocks.1.hook_in']: double"
        )
        assert shown(active).rows[1:] == [
            ["blocks.0.hook_in", "ops.scale(factor=2.0)", "yes"],
            ["['blocks.1.hook_in']", "double", ""],
        ]
    assert [one.where for one in model.active_hooks()] == ["blocks.0.hook_in"]


def test_what_is_shown_is_escaped(model: hookwire.RemoteModel) -> None:
    def wild(name: str) -> bool:
        return name == "blocks.0.hook_in"

    wild.__qualname__ = "<script>alert(1)</script>"
    model.add_hook(wild, double)
    page = shown(model.active_hooks())
    assert "script" not in page.tags
    assert page.rows[1][0] == "<script>alert(1)</script>"


def test_dark_and_light_pages_keep_their_colours(
    model: hookwire.RemoteModel, cache: hookwire.ActivationCache
) -> None:
    for value in (model, cache, cache.receipt, model.plan(TOKENS), model.hook_points()):
        page = shown(value)
        colours = [style for style in page.styles if "color" in style or "background" in style]
        # Said, because a table of a page without a doctype is black otherwise.
        assert colours == ["color: inherit; font: inherit"]


def test_keys_are_completed(model: hookwire.RemoteModel, cache: hookwire.ActivationCache) -> None:
    for mapping in (cache, model.hook_dict):
        keys = mapping._ipython_key_completions_()
        assert set(keys) >= set(mapping)
        assert {("in", 2), ("pattern", 1)} <= set(keys)
        for key in keys:
            assert mapping[key] is not None


def test_dir_shows_what_is_public() -> None:
    names = dir(hookwire)
    assert set(hookwire.__all__) <= set(names)
    assert {"TYPE_CHECKING", "annotations", "api", "answer", "wire"}.isdisjoint(names)
    assert all(getattr(hookwire, name) for name in names if name != "transformer_lens")
