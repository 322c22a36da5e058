import pytest

from bench.__main__ import chosen
from bench.rows import ROWS


def test_all_rows_by_default():
    assert chosen([]) == list(ROWS)


def test_rows_by_name_kind_and_checkpoint():
    assert chosen(["hook/mid"]) == ["hook/mid"]
    assert chosen(["hook", "load/mid"]) == ["hook/toy", "hook/mid", "hook/wide", "load/mid"]
    assert all(row.endswith("/toy") for row in chosen(["toy"]))


def test_an_unknown_row_is_named():
    with pytest.raises(ValueError, match="no row 'hok'"):
        chosen(["hook", "hok"])
