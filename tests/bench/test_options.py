import pytest

from bench.__main__ import chosen, parse
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


def test_json_goes_to_a_file_or_to_stdout():
    assert parse([]).json is None
    assert parse(["--json"]).json == "-"
    assert parse(["--json", "figures.json"]).json == "figures.json"
