"""What a reader sees: colours, and texts that can be read at the size of a page."""

from __future__ import annotations

import functools
import io
import itertools
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from hookwire import plot
from hookwire.plot.scale import Scale, ink
from matplotlib.image import imread
from matplotlib.text import Text
from matplotlib.transforms import Bbox

# Pixels: of a picture on a page, and of the smallest text that can be read there.
PAGE, READABLE = 800, 7.5
CLEAN, CORRUPTED = 9.82, -7.0
METRIC = "logit(Mary) − logit(John), recovered"
WORDS = ["<bos>", "When", " Mary", "and", ",", "internationalization" * 3, "a", "to"]
RANDOM = np.random.default_rng(0)


def tokens(count: int) -> list[str]:
    return [*itertools.islice(itertools.cycle(WORDS), count)]


def patched(values: Any, **options: Any) -> plot.Figure:
    return plot.patching(
        values, clean=CLEAN, corrupted=CORRUPTED, metric=METRIC, hook="blocks.*.hook_z", **options
    )


def pattern(heads: int, pos: int) -> Any:
    values = np.tril(RANDOM.uniform(size=(heads, pos, pos)))
    return values / values.sum(-1, keepdims=True)


def words(layers: int, pos: int) -> list[list[str]]:
    return [[str(RANDOM.choice(WORDS)) for _ in range(pos)] for _ in range(layers)]


def with_nan() -> Any:
    values = RANDOM.normal(size=(6, 15)) * 20
    values[0, 0], values[2, 3] = np.nan, -np.inf
    return values


FIGURES = {
    "patching": patched(RANDOM.normal(size=(6, 15)), tokens=tokens(15)),
    "patching, 1 layer": patched(RANDOM.normal(size=(1, 15)) - 7, tokens=tokens(15)),
    "patching, 60 layers": patched(RANDOM.normal(size=(60, 15)) - 7, tokens=tokens(15)),
    "patching, 40 tokens": patched(RANDOM.normal(size=(35, 40)) - 7, tokens=tokens(40)),
    "patching, 1 place": patched([[3.0]]),
    "patching, far": patched(RANDOM.normal(size=(6, 4)) * 50, column_axis="head"),
    "patching, NaN": patched(with_nan(), tokens=tokens(15)),
    "patching, only NaN": patched(np.full((2, 3), np.nan)),
    "recovered": plot.patching(
        RANDOM.normal(size=(6, 4)), clean=1, corrupted=0, metric="recovered"
    ),
    "attention": plot.attention(pattern(4, 15), tokens=tokens(15), title="Layer 5: " * 40),
    "attention, 8 x 40": plot.attention(pattern(8, 40), tokens=tokens(40), title="Layer 5"),
    "attention, 1 x 1": plot.attention(pattern(1, 1), tokens=["a"], legend="a long legend " * 4),
    "attention, long": plot.attention(pattern(2, 300), tokens=tokens(300)),
    "scores": plot.attention(RANDOM.normal(size=(3, 9, 9)), tokens=tokens(9), legend="score"),
    "lens": plot.lens(words(6, 15), RANDOM.uniform(size=(6, 15)), tokens=tokens(15)),
    "lens, 40 x 60": plot.lens(words(60, 40), RANDOM.uniform(size=(60, 40)), tokens=tokens(40)),
    "small": plot.heatmap(RANDOM.normal(size=(6, 15)) * 1e-5, tokens=tokens(15)),
    "large": plot.heatmap(-np.abs(RANDOM.normal(size=(6, 15))) * 1e7, legend="log p"),
    "constant": plot.heatmap(np.full((3, 4), -3.0)),
    "300 layers": plot.heatmap(RANDOM.normal(size=(300, 8))),
}
every_figure = pytest.mark.parametrize("name", FIGURES)


def drawn(figure: plot.Figure, **options: Any) -> Any:
    picture = figure.matplotlib(**options)
    picture.draw_without_rendering()
    return picture


@functools.cache
def known(name: str) -> Any:
    """One of `FIGURES`, drawn."""
    return drawn(FIGURES[name])


def panels_of(picture: Any) -> list[Any]:
    return [axes for axes in picture.axes if axes.images]


def bar_texts(figure: plot.Figure) -> list[str]:
    """What is written at the colour bar, from the lower end on."""
    (bar,) = (axes for axes in drawn(figure).axes if axes.get_label() == "<colorbar>")
    return [tick.get_text() for tick in bar.get_yticklabels()]


def colours_of(figure: plot.Figure) -> Any:
    """The colours of the first panel as matplotlib draws them, [row, column, 4], 0 to 1."""
    image = panels_of(figure.matplotlib())[0].images[0]
    return image.to_rgba(image.get_array())


def overlaps(boxes: list[Bbox]) -> bool:
    """Whether labels beside each other touch."""
    return any(
        one.padded(-0.5).overlaps(other.padded(-0.5)) for one, other in itertools.pairwise(boxes)
    )


def test_a_patch_without_effect_is_white() -> None:
    values = np.full((2, 3), CORRUPTED)
    values[1] = CLEAN, CORRUPTED - (CLEAN - CORRUPTED), 0.0
    figure = patched(values)
    colours = colours_of(figure)
    np.testing.assert_allclose(colours[0], 1.0)
    red, blue, pale = colours[1]
    assert red[0] > 3 * red[2]
    assert blue[2] > 3 * blue[0]
    assert pale[0] > pale[2] > red[2]
    scale = figure.plotly().layout.coloraxis
    middle = (CORRUPTED - scale.cmin) / (scale.cmax - scale.cmin)
    assert dict(scale.colorscale)[middle] == "rgb(255,255,255)"
    pixels = imread(io.BytesIO(patched(np.full((2, 3), CORRUPTED)).png()))
    assert (pixels[..., :3] == 1).all(-1).mean() > 0.9


def test_the_bar_says_what_white_and_the_ends_mean() -> None:
    values = [[CORRUPTED, CLEAN]]
    want = ["−23.8\nas far the\nother way", "−7.0\ncorrupted run\n(no effect)", "+9.8\nclean run"]
    assert bar_texts(patched(values)) == want
    bar = patched(values).plotly().layout.coloraxis.colorbar
    assert [text.replace("<br>", "\n") for text in bar.ticktext] == want
    turned = plot.patching(values, clean=CORRUPTED, corrupted=CLEAN)
    assert [text.partition("\n")[2] for text in bar_texts(turned)] == [
        "clean run",
        "corrupted run\n(no effect)",
        "as far the\nother way",
    ]


def test_maps_of_one_metric_have_one_scale() -> None:
    positions = patched(np.array([[CLEAN + 0.3, CORRUPTED - 2]]))
    heads = patched(RANDOM.normal(size=(6, 4)) + CORRUPTED, column_axis="head")
    unknown = patched([[np.nan]])
    assert positions.scale == heads.scale == unknown.scale
    assert heads.scale.high == pytest.approx(CLEAN)
    one, other = (
        plot.attention(share * pattern(2, 5), tokens=tokens(5)).scale for share in (0.1, 1.0)
    )
    assert one == other == Scale(0.0, 1.0)
    assert plot.attention(pattern(2, 5), tokens=tokens(5), high=0.3).high == 0.3


def test_noise_is_pale() -> None:
    noise = RANDOM.normal(size=(6, 15)) * 1e-3
    assert colours_of(patched(noise + CORRUPTED)).min() > 0.98
    assert colours_of(plot.heatmap(9.8 + noise * 1e-3)).min() > 0.9
    assert colours_of(plot.heatmap(noise, low=-1, high=1)).min() > 0.98


def test_a_patch_that_goes_farther_than_the_clean_run_widens_the_scale() -> None:
    figure = patched([[40.0, CORRUPTED]])
    assert (figure.low, figure.high) == (-54, 40)
    assert bar_texts(figure)[-1] == "+40.0\nfarthest patch\n(clean: +9.8)"
    below = bar_texts(patched([[-40.0]]))
    assert below[0] == "−40.0\nfarthest patch"
    assert below[-1] == "+26.0\nas far the\nother way\n(clean: +9.8)"
    without = plot.patching([[3.0, -5.0]], corrupted=-1.0)
    assert without.scale == Scale(-5.0, 3.0, -1.0)
    assert plot.patching([[3.0, -5.0]]).scale == Scale(-5.0, 5.0, 0.0)
    tensors = torch.tensor(CLEAN), np.float32(CORRUPTED)
    assert plot.patching([[0.0]], clean=tensors[0], corrupted=tensors[1]).high == pytest.approx(
        CLEAN
    )
    same = plot.patching([[1.0, 2.0]], clean=1.0, corrupted=1.0)
    assert (same.low, same.high) == (0.0, 2.0)


def test_white_is_where_it_is_asked_for() -> None:
    for figure, white in (
        (plot.heatmap([[-2.0, 0.0, 6.0]], low=-2, high=6), 0.0),
        (plot.heatmap([[1.0, 2.0, 6.0]], white=2), 2.0),
    ):
        below, at, above = colours_of(figure)[0]
        assert (below[2] - below[0], above[0] - above[2]) > (0.05, 0.5)
        np.testing.assert_allclose(at, 1.0, atol=0.02)
        assert dict(figure.scale.stops())[(white - figure.low) / (figure.high - figure.low)] == (
            1.0,
            1.0,
            1.0,
        )


def test_values_beyond_the_ends_are_announced() -> None:
    def ends(figure: plot.Figure) -> str:
        (bar,) = (axes for axes in figure.matplotlib().axes if axes.get_label() == "<colorbar>")
        return str(bar._colorbar.extend)

    assert ends(plot.heatmap([[-3.0, 5.0]])) == "neither"
    assert ends(plot.heatmap([[-3.0, 5.0]], high=4, low=-3)) == "max"
    assert ends(plot.heatmap([[-3.0, 5.0]], high=4, low=-1)) == "both"


def test_what_is_not_finite_is_grey() -> None:
    figure = plot.heatmap([[np.nan, -np.inf, np.inf, 0.0, 1.0]])
    colours = colours_of(figure)[0, :, :3]
    np.testing.assert_allclose(colours[:3], 0.78, atol=0.01)
    assert figure.plotly().layout.plot_bgcolor == "rgb(199,199,199)"
    assert figure.panels[0].text == (("NaN", "−∞", "∞", "0.00", "1.00"),)


def test_ink_stands_out() -> None:
    def luminance(colour: Any) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))

    for scale in (Scale(0, 1), Scale(-1, 1, 0.0)):
        for _, colour in scale.stops():
            pair = sorted((luminance(colour), 0.0 if ink(colour) == "black" else 1.0))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


@every_figure
def test_there_is_one_minus_sign(name: str) -> None:
    texts = [text.get_text() for text in known(name).findobj(Text)]
    picture = json.loads(FIGURES[name].plotly().to_json())
    for trace in picture["data"]:
        texts += np.ravel(trace.get("text", [])).tolist()
        texts += [values[2] for row in trace["customdata"] for values in row]
    texts += picture["layout"]["coloraxis"]["colorbar"].get("ticktext", [])
    wrong = [text for text in texts if re.search(r"-[\d∞]|^[−+]?0[.0]*$", text) and text[0] in "-−"]
    assert not wrong


@every_figure
def test_texts_of_cells_are_upright_and_within_them(name: str) -> None:
    for axes in panels_of(known(name)):
        rows, columns = axes.images[0].get_array().shape
        box = axes.get_window_extent()
        for text in axes.texts:
            assert text.get_rotation() == 0
            extent = text.get_window_extent()
            assert extent.width <= box.width / columns
            assert extent.height <= 1.3 * box.height / rows
        assert len(axes.texts) in (0, rows * columns)


@every_figure
def test_labels_can_be_read_on_a_page(name: str) -> None:
    picture = known(name)
    shrunk = min(1.0, PAGE / (picture.get_figwidth() * 150))
    for text in picture.findobj(Text):
        if text.get_visible() and text.get_text():
            assert text.get_fontsize() * 150 / 72 * shrunk >= READABLE, text
    for axes in panels_of(picture):
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [tick for tick in axis.get_ticklabels() if tick.get_visible()]
            if ticks and ticks[0].get_rotation() in (0.0, 90.0):
                assert not overlaps([tick.get_window_extent() for tick in ticks])


@every_figure
def test_rows_of_the_interactive_figure_can_be_read(name: str) -> None:
    layout = FIGURES[name].plotly().layout
    axis = layout.yaxis
    rows = len(FIGURES[name].panels[0].rows)
    share = axis.domain[1] - axis.domain[0]
    pitch = (layout.height - 180) * share / rows * (axis.tickvals[1] if rows > 1 else 1)
    assert axis.tickfont.size >= READABLE
    assert axis.tickfont.size <= 1.05 * pitch


@every_figure
def test_nothing_is_cut_off(name: str) -> None:
    picture = known(name)
    for axes in picture.axes:
        if axes.get_visible():
            box = axes.get_tightbbox()
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= picture.bbox.x1 + 1
            assert box.y1 <= picture.bbox.y1 + 1
    title = picture.findobj(lambda one: isinstance(one, Text) and one is picture._suptitle)
    for text in title:
        assert text.get_window_extent().width <= picture.bbox.width


def test_eight_heads_of_forty_tokens_fit_a_page() -> None:
    picture = known("attention, 8 x 40")
    first, *_, last = panels_of(picture)
    assert [text.get_text() for text in first.get_yticklabels()] == [
        text.get_text() for text in last.get_xticklabels()
    ]
    assert len(first.get_yticklabels()) == 40
    assert picture.get_figwidth() <= 9
    assert picture.get_figheight() <= 2.2 * picture.get_figwidth()
    box = first.get_window_extent()
    assert box.height == pytest.approx(box.width, rel=0.15)


def test_numbers_that_do_not_fit_are_left_out_and_words_are_shortened() -> None:
    assert not panels_of(known("patching, 40 tokens"))[0].texts
    assert panels_of(drawn(FIGURES["patching, 40 tokens"], width=30))[0].texts
    shown = {text.get_text() for text in panels_of(known("lens"))[0].texts}
    assert "When" in shown
    assert any(re.fullmatch("inter.*…", text) for text in shown)
    assert "texttemplate" not in FIGURES["patching, 40 tokens"].plotly().to_plotly_json()["data"][0]


def test_numbers_of_heads_stand_upright() -> None:
    axes = panels_of(known("patching, far"))[0]
    assert {text.get_rotation() for text in axes.get_xticklabels()} == {0.0}


def test_a_row_is_as_high_as_it_was_to_be() -> None:
    for name, most in (("patching, 60 layers", 10.5), ("patching, 1 layer", 3.5), ("lens", 4.0)):
        picture = known(name)
        assert 2 < picture.get_figheight() < most
