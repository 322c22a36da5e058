from io import BytesIO

import pytest

from bench.figures import Row, Series, Unit
from bench.plot import DPI, curves


def point(clients: int) -> list[Row]:
    rates = [Series(side, (10.0 * clients,), Unit.RUNS_PER_SECOND) for side in ("ours", "theirs")]
    times = [Series(side, (0.1, 0.2, 0.3), quantile=0.99) for side in ("ours", "theirs")]
    return [Row("curve", "", *sides, clients=clients) for sides in (rates, times)]


def test_rates_and_times_are_drawn_over_the_number_of_clients():
    figure = curves([row for clients in (1, 4, 16) for row in point(clients)])
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[1, 4, 16]] * 2
    assert list(left.lines[0].get_ydata()) == [10, 40, 160]
    assert {line.get_label() for line in right.lines} == {
        f"{side}, {what}" for side in ("ours", "theirs") for what in ("median", "99th percentile")
    }
    assert [line.get_ydata()[0] for line in right.lines[:3:2]] == pytest.approx([0.2, 0.298])
    picture = BytesIO()
    figure.savefig(picture, dpi=DPI)
    assert len(picture.getvalue()) < 100_000


def test_without_a_curve_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no curve"):
        curves([Row("hook/toy", "", Series("ours", (1.0,)))])
