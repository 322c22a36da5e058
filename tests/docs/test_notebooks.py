"""The notebooks run to the end, and find the indirect object's circuit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.docs.notebooks import run
from tests.parity.daemon import ROOT

NOTEBOOKS = ROOT / "docs" / "notebooks"


def test_exploratory_analysis_finds_the_heads_that_look_at_the_indirect_object(
    toy: str, tmp_path: Path
) -> None:
    found = run(NOTEBOOKS / "exploratory-analysis.ipynb", toy, tmp_path)
    assert (found["baseline"] > 5).all()
    assert set(found["largest"][:3]) == {"3_attn_out", "5_attn_out", "5_mlp_out"}
    assert found["shares"].sum(0) == pytest.approx(found["before_softcap"], abs=1e-3)
    assert found["movers"] == [(5, 0), (5, 1)]
    for layer, head in found["movers"]:
        pattern = found["cache"]["pattern", layer][:, head, -1]
        assert (pattern.argmax(1) == found["receiver_at"]).all()
    assert np.unravel_index(found["lost"].argmax(), found["lost"].shape) == (5, 0)


def test_activation_patching_finds_the_positions_and_the_path(toy: str, tmp_path: Path) -> None:
    found = run(NOTEBOOKS / "activation-patching.ipynb", toy, tmp_path)
    giver = 10
    assert found["path"] == [giver, giver, giver + 2, giver + 2, giver + 4, giver + 4]
    residual = found["residual"]
    assert (residual.max(1) > 0.95).all()
    elsewhere = residual.copy()
    elsewhere[range(6), found["path"]] = 0
    assert np.abs(elsewhere).max() < 0.1
    assert found["movers"] == [(1, "a"), (3, "to")]
    # A whole layer of heads does it; of single ones the first is the other notebook's too.
    assert np.argmax(found["whole_layer"]) == 3
    assert found["whole_layer"][3] > 0.9
    heads = np.asarray(found["heads"])
    assert np.unravel_index(heads.argmax(), heads.shape) == (5, 0)
    assert found["strongest"] == "3_attn_out"
    # Its path into the queries turns the heads to the name that does not give.
    mary = found["words"].index("Mary")
    assert (found["after"].argmax(1) == mary).all()


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text())["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
