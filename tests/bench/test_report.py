import json

import pytest

from bench import report
from bench.figures import Kind, LeftOut, Row, Series, Unit

FASTER = Row(
    "hook/toy",
    "one hook",
    Series("Hookwire", (0.001, 0.002, 0.003)),
    Series("TransformerLens", (0.020, 0.010, 0.030)),
    goal=5.0,
    note="16 tokens",
)
SLOWER = Row(
    "load/mid", "ready", Series("Hookwire", (3.0,)), Series("files", (2.0,)), Kind.COST, 1.1
)
BOUND = Row(
    "memory/mid", "growth", Series("Hookwire", (2.0**27,), Unit.BYTES), None, Kind.BOUND, 2.0**28
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5, Unit.SECONDS, "1.50 s"),
        (0.0123, Unit.SECONDS, "12.3 ms"),
        (0.000123, Unit.SECONDS, "123 µs"),
        (0.0, Unit.SECONDS, "0.00 µs"),
        (2.0**28, Unit.BYTES, "256 MiB"),
        (1.25e9, Unit.BYTES_PER_SECOND, "1.25 GB/s"),
        (0.5, Unit.RUNS_PER_SECOND, "0.50 runs/s"),
        (12345.6, Unit.TOKENS_PER_SECOND, "12346 tokens/s"),
    ],
)
def test_amounts_are_readable(value: float, unit: Unit, text: str):
    assert report.amount(value, unit) == text


def test_the_cells_of_a_speed_up():
    assert report.cells(FASTER) == (
        "hook/toy",
        "one hook",
        "2.00 ms ±25%",
        "TransformerLens",
        "20.0 ms ±25%",
        "10.00×",
        "≥ 5×",
        "✓",
    )


def test_a_percentile_has_no_spread():
    times = Series("Hookwire", (0.001,) * 50 + (0.004,) * 50, quantile=0.99)
    assert report.spread(times) == "4.00 ms"


def test_a_missed_goal_is_marked():
    assert report.cells(SLOWER)[-3:] == ("1.50×", "≤ 1.1×", "✗")


def test_a_bound_has_no_ratio_but_a_limit():
    assert report.cells(BOUND)[2:] == ("128 MiB", "", "", "", "≤ 256 MiB", "✓")


def test_the_columns_of_the_table_are_aligned():
    head, *body = report.table([FASTER, SLOWER, BOUND])
    for line, row in zip(body, (FASTER, SLOWER, BOUND), strict=True):
        assert line.index(row.what) == head.index("what")


def test_a_note_is_printed_once():
    assert report.text({}, [FASTER, FASTER]).count("16 tokens") == 1


def test_what_was_left_out_is_said_with_the_reason():
    left_out = [LeftOut("layers/e2b", "no room")]
    assert "layers/e2b: left out: no room" in report.text({}, [FASTER], left_out)
    assert "- `layers/e2b`: left out: no room" in report.markdown({}, [FASTER], left_out)
    assert report.as_json({}, [], left_out)["left_out"] == [
        {"name": "layers/e2b", "why": "no room"}
    ]


def test_the_text_begins_with_the_machine():
    assert report.text({"cores": "2"}, [FASTER]).startswith("cores: 2\n\nrow ")


def test_markdown_has_as_many_cells_in_each_line():
    lines = report.markdown({"cores": "2"}, [FASTER, SLOWER]).split("\n\n")[1].splitlines()
    assert {line.count("|") for line in lines} == {len(report.HEADINGS) + 1}
    assert len(lines) == 4


def test_json_holds_every_repetition_and_the_verdict():
    text = json.dumps(report.as_json({"cores": "2"}, [FASTER, BOUND]))
    faster, bound = json.loads(text)["rows"]
    assert faster["ours"]["values"] == [0.001, 0.002, 0.003]
    assert (faster["figure"], faster["goal"], faster["met"]) == (pytest.approx(10.0), 5.0, True)
    assert bound["baseline"] is None


def test_figures_take_the_place_of_older_ones():
    document = f"# Speed\n{report.BEGIN}\n\nold\n\n{report.END}\nThe end\n"
    expected = f"# Speed\n{report.BEGIN}\n\nnew\n\n{report.END}\nThe end\n"
    assert report.put_into(document, "new\n") == expected
    assert report.put_into(expected, "new") == expected


def test_a_document_without_marks_stays_as_it_is():
    with pytest.raises(ValueError, match="has no"):
        report.put_into("# Speed\n", "new")
