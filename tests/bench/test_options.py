import pytest

from bench.__main__ import chosen, parse, run
from bench.agree import DisagreementError
from bench.cache import LeftOutError
from bench.figures import LeftOut, Row, Series
from bench.rows import ROWS
from bench.workbench import Workbench


def test_all_rows_by_default():
    assert chosen([]) == list(ROWS)


def test_rows_by_name_kind_and_checkpoint():
    assert chosen(["hook/mid"]) == ["hook/mid"]
    assert chosen(["hook", "load/mid"]) == [
        "hook/toy",
        "hook/mid",
        "hook/wide",
        "hook/mid-bf16",
        "load/mid",
        "hook/e2b",
        "hook/26b",
        "hook/31b",
    ]
    assert all(row.endswith("/toy") for row in chosen(["toy"]))


def test_a_checkpoint_in_bfloat16_is_named_by_itself():
    assert all(row.endswith("/mid") for row in chosen(["mid"]))
    assert all(row.endswith("/mid-bf16") for row in chosen(["mid-bf16"]))
    assert {row.split("/")[0] for row in chosen(["mid-bf16"])} >= {
        *("hook", "logits", "everything", "batch", "batch-logits"),
        *("serving", "serving-logits", "invariant", "layers", "gain"),
    }


def test_a_row_without_room_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch):
    def no_room(bench: Workbench) -> tuple[Row, ...]:
        raise LeftOutError("no disk")

    def other_outputs(bench: Workbench) -> tuple[Row, ...]:
        raise DisagreementError("x")

    def measured(bench: Workbench) -> tuple[Row, ...]:
        return (Row("a/toy", "", Series("Hookwire", (1.0,))),)

    rows = {"a/toy": measured, "b/toy": no_room, "c/toy": other_outputs}
    monkeypatch.setattr("bench.__main__.ROWS", rows)
    results = run(parse([]))
    assert [row.name for row in results.rows] == ["a/toy"]
    assert results.left_out == [LeftOut("b/toy", "no disk")]
    assert results.failures == ["c/toy: x"]


def test_an_unknown_row_is_named():
    with pytest.raises(ValueError, match="no row 'hok'"):
        chosen(["hook", "hok"])


def test_json_goes_to_a_file_or_to_stdout():
    assert parse([]).json is None
    assert parse(["--json"]).json == "-"
    assert parse(["--json", "figures.json"]).json == "figures.json"
