"""What the figures show, in both libraries, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from hookwire import plot
from hookwire.plot import extras
from matplotlib.image import imread

TOKENS = ["<bos>", "$a", "the", "the", "b$\n"]
VALUES = np.linspace(-2.0, 6.0, 15).reshape(3, 5)
PATTERN = np.tril(np.random.default_rng(0).uniform(size=(5, 5, 5)))
PATTERN /= PATTERN.sum(-1, keepdims=True)


def axes_of(figure: plot.Figure) -> list[Any]:
    """The panels of the drawn figure, and the axes of its colour bar."""
    drawn = figure.matplotlib()
    drawn.canvas.draw()
    return [axes for axes in drawn.axes if axes.get_visible()]


def labels(axis: Any) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_a_heat_map_has_layers_down_and_tokens_across() -> None:
    figure = plot.heatmap(VALUES, tokens=TOKENS, layers=[0, 4, 8], title="map", legend="metric")
    panel, bar = axes_of(figure)
    assert labels(panel.xaxis) == ["<bos>", "$a", "the", "the", "b$\\n"]
    assert labels(panel.yaxis) == ["0", "4", "8"]
    assert panel.get_ylabel() == "layer"
    assert bar.get_ylabel() == "metric"
    assert panel.figure.get_suptitle() == "map"
    np.testing.assert_array_equal(panel.images[0].get_array(), VALUES)
    assert panel.images[0].get_clim() == (-6.0, 6.0)  # white is 0
    assert panel.yaxis_inverted()  # layer 0 is at the top


def test_the_interactive_map_has_the_same() -> None:
    drawn = plot.heatmap(VALUES, tokens=TOKENS, layers=[0, 4, 8], title="<map>").plotly()
    trace = drawn.data[0]
    assert trace.type == "heatmap"
    np.testing.assert_array_equal(trace.z, VALUES)
    assert trace.x is None  # columns are numbers, so that equal tokens keep their own
    assert list(drawn.layout.xaxis.tickvals) == [0, 1, 2, 3, 4]
    assert list(drawn.layout.xaxis.ticktext) == ["&lt;bos&gt;", "$a", "the", "the", "b$\\n"]
    assert list(drawn.layout.yaxis.ticktext) == ["0", "4", "8"]
    assert drawn.layout.yaxis.autorange == "reversed"
    assert drawn.layout.yaxis.title.text == "layer"
    assert drawn.layout.title.text == "&lt;map&gt;"
    assert (drawn.layout.coloraxis.cmin, drawn.layout.coloraxis.cmax) == (-6, 6)
    json.loads(drawn.to_json())


def test_values_are_written_into_cells_where_they_can_be_read() -> None:
    panel, _ = axes_of(plot.heatmap(VALUES))
    written = [text.get_text() for text in panel.texts]
    assert written[0] == "−2.0"
    assert len(written) == VALUES.size
    assert not axes_of(plot.heatmap(np.zeros((30, 60))))[0].texts
    assert not axes_of(plot.heatmap(VALUES, text=False))[0].texts
    assert labels(axes_of(plot.heatmap(VALUES))[0].xaxis) == list("01234")


@pytest.mark.parametrize(
    "values",
    [
        torch.from_numpy(VALUES).bfloat16().requires_grad_(),
        VALUES.astype(ml_dtypes.bfloat16),
        VALUES.astype(ml_dtypes.bfloat16).astype(float).tolist(),
    ],
)
def test_values_may_be_torch_numpy_or_lists(values: Any) -> None:
    want = VALUES.astype(ml_dtypes.bfloat16).astype(float)
    np.testing.assert_array_equal(plot.heatmap(values).panels[0].values, want)


def test_values_of_one_sign_have_one_colour() -> None:
    figure = plot.heatmap(VALUES + 2)
    assert (figure.low, figure.high, figure.diverging) == (0, 8, False)
    turned = plot.heatmap(-VALUES)
    assert (turned.low, turned.high, turned.diverging) == (-6, 6, True)
    assert plot.heatmap(np.zeros((1, 2))).high > plot.heatmap(np.zeros((1, 2))).low


def test_masked_scores_do_not_stretch_the_colours() -> None:
    masked = VALUES.copy()
    masked[0, 0] = -np.inf
    figure = plot.heatmap(masked)
    assert np.isfinite([figure.low, figure.high]).all()
    assert figure.png()


def test_patching_says_what_was_copied() -> None:
    figure = plot.patching(
        VALUES, tokens=TOKENS, metric="logit(Mary) − logit(John)", hook="resid_pre"
    )
    assert figure.title == "resid_pre, copied from the clean run into the corrupted one"
    assert figure.legend == "logit(Mary) − logit(John)"
    assert plot.patching(VALUES, tokens=TOKENS, title="mine").title == "mine"


def test_attention_has_a_panel_for_each_head() -> None:
    figure = plot.attention(torch.from_numpy(PATTERN)[None], tokens=TOKENS, title="layer 3")
    assert [panel.title for panel in figure.panels] == [f"head {head}" for head in range(5)]
    assert (figure.low, figure.high) == (0, 1)
    *panels, bar = axes_of(figure)
    assert len(panels) == 5
    for head, panel in enumerate(panels):
        np.testing.assert_array_equal(panel.images[0].get_array(), PATTERN[head])
    assert (
        labels(panels[0].yaxis) == labels(panels[4].xaxis) == ["<bos>", "$a", "the", "the", "b$\\n"]
    )
    assert (panels[0].get_ylabel(), panels[4].get_xlabel()) == ("query", "key")
    assert bar.get_xlabel() == "attention"
    drawn = figure.plotly()
    assert [trace.type for trace in drawn.data] == ["heatmap"] * 5
    np.testing.assert_array_equal(drawn.data[3].z, PATTERN[3])
    assert [note.text for note in drawn.layout.annotations][:2] == ["head 0", "head 1"]


def test_attention_of_one_head() -> None:
    for figure in (
        plot.attention(PATTERN, tokens=TOKENS, head=-2),
        plot.attention(PATTERN[3], tokens=TOKENS),
    ):
        assert len(figure.panels) == 1
        np.testing.assert_array_equal(figure.panels[0].values, PATTERN[3])
    chosen = plot.attention(PATTERN, tokens=TOKENS, head=[4, 0])
    assert [panel.title for panel in chosen.panels] == ["head 4", "head 0"]
    with pytest.raises(IndexError, match="head=5 is outside the 5 heads"):
        plot.attention(PATTERN, tokens=TOKENS, head=5)


def test_the_lens_shows_words_coloured_by_probability() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 5, 11)).astype(np.float32)
    words, probabilities = plot.top_words(logits, lambda token: f"w{token}")
    want = torch.from_numpy(logits).double().softmax(-1).max(-1)
    assert words == [[f"w{token}" for token in row] for row in want.indices.tolist()]
    np.testing.assert_allclose(probabilities, want.values.numpy())
    figure = plot.lens(words, probabilities, tokens=TOKENS)
    assert (figure.low, figure.high, figure.diverging) == (0, 1, False)
    panel, bar = axes_of(figure)
    assert [text.get_text() for text in panel.texts] == [word for row in words for word in row]
    assert bar.get_ylabel() == "probability"
    assert [list(row) for row in figure.plotly().data[0].text] == words


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: plot.heatmap(np.zeros(3)), r"must be \[layer, pos\], not \[3\]"),
        (lambda: plot.heatmap(np.zeros((0, 3))), r"not \[0, 3\]"),
        (lambda: plot.heatmap(VALUES, tokens=["a"]), "tokens has 1 label for 5 columns"),
        (lambda: plot.heatmap(VALUES, layers=[1]), "layers has 1 label for 3 rows"),
        (lambda: plot.heatmap(VALUES, text=[["a"]]), "shape of the values"),
        (lambda: plot.attention(np.zeros((2, 3, 4, 4)), tokens="abcd"), "of one row"),
        (lambda: plot.heatmap(VALUES).save("map.bmp"), "not '.bmp'"),
        (lambda: plot.heatmap(VALUES, save=3), "path must be a path, not 3"),  # type: ignore[arg-type]
        (lambda: plot.heatmap(VALUES, tokens="abcde"), "tokens must be a list of labels, not 'ab"),
        (lambda: plot.heatmap(VALUES, tokens=3), "tokens must be a list of labels, not 3"),  # type: ignore[arg-type]
        (lambda: plot.heatmap(VALUES, low=7, high=6), "in the wrong order: low=7, high=6"),
        (lambda: plot.heatmap(VALUES, low=0, white=-1), "in the wrong order: low=0, white=-1"),
        (lambda: plot.patching(VALUES, clean=1), "clean needs corrupted too"),
        (lambda: plot.patching(VALUES, corrupted=float("nan")), "corrupted must be a number"),
        (lambda: plot.heatmap(VALUES).png(width=3), "width must be 4 inches or more, not 3"),
        (lambda: plot.heatmap(VALUES, low="a"), "low must be a number or None, not 'a'"),  # type: ignore[arg-type]
        (lambda: plot.top_words(VALUES, 3), "decode must be a function of a token id, not 3"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_drawn_is_an_error(call: Any, says: str) -> None:
    with pytest.raises(hookwire.HookwireError, match=says):
        call()


def test_pictures_are_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "map.png"
    plot.heatmap(VALUES, tokens=TOKENS, save=path)
    pixels = imread(path)
    assert pixels.ndim == 3
    assert min(pixels.shape[:2]) > 200
    assert pixels.std() > 0
    figure = plot.attention(PATTERN, tokens=TOKENS)
    for suffix, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")):
        figure.save(tmp_path / f"heads{suffix}")
        assert (tmp_path / f"heads{suffix}").read_bytes().startswith(start)


def test_a_page_needs_no_network(tmp_path: Path) -> None:
    plot.heatmap(VALUES).save(tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    assert "Plotly.newPlot" in page
    assert "<script src=" not in page.replace('<script src="">', "")


def test_a_notebook_shows_the_interactive_figure_or_a_png(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import plotly.io

    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")
    figure = plot.heatmap(VALUES, title="map")
    bundle = figure._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["layout"]["title"]["text"] == "map"
    assert bundle["image/png"].startswith(b"\x89PNG")
    monkeypatch.setattr(extras, "has", lambda library: library == "matplotlib")
    bundle = figure._repr_mimebundle_()
    assert list(bundle) == ["text/plain", "image/png"]
    assert bundle["text/plain"] == "<Figure 'map': 3×5>"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plot.heatmap(VALUES)
    monkeypatch.setattr(extras, "has", lambda library: False)
    for call, library in ((figure.matplotlib, "matplotlib"), (figure.plotly, "plotly")):
        with pytest.raises(plot.MissingExtraError, match=library) as caught:
            call()
        assert "pip install hookwire[plot]" in str(caught.value)
    with pytest.raises(ImportError, match="pip install hookwire"):
        plot.heatmap(VALUES)
    assert issubclass(plot.MissingExtraError, hookwire.HookwireError)


def test_the_package_exposes_it_and_imports_it_late() -> None:
    import subprocess
    import sys

    code = (
        "import sys, hookwire; assert 'hookwire.plot' not in sys.modules; hookwire.plot.heatmap; "
        "assert not {'matplotlib', 'plotly', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
