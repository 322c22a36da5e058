from io import BytesIO

import pytest

from bench.figures import Row, Series, Unit
from bench.plot import DPI, curves


def point(clients: int) -> list[Row]:
    rates = [
        Series(side, (10.0 * clients,), Unit.RUNS_PER_SECOND)
        for side in ("Hookwire", "hand-written Python server")
    ]
    times = [
        Series(side, (0.1, 0.2, 0.3), quantile=0.99)
        for side in ("Hookwire", "hand-written Python server")
    ]
    return [Row("curve", "", *sides, clients=clients) for sides in (rates, times)]


def test_rates_and_times_are_drawn_over_the_number_of_clients():
    figure = curves([row for clients in (1, 4, 16) for row in point(clients)])
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[1, 4, 16]] * 2
    assert list(left.lines[0].get_ydata()) == [10, 40, 160]
    assert {line.get_label() for line in right.lines} == {
        f"{side}, {what}"
        for side in ("Hookwire", "hand-written Python server")
        for what in ("median", "99th percentile")
    }
    assert [line.get_ydata()[0] for line in right.lines[:3:2]] == pytest.approx([0.2, 0.298])
    picture = BytesIO()
    figure.savefig(picture, dpi=DPI)
    assert len(picture.getvalue()) < 100_000


def test_legends_cover_no_line_and_can_be_read():
    figure = curves([row for clients in (1, 2, 4, 8, 16, 32, 64) for row in point(clients)])
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        assert not legend.overlaps(axes.get_window_extent())
        assert figure.bbox.x0 <= legend.x0
        assert legend.x1 <= figure.bbox.x1
        assert legend.y1 <= figure.bbox.y1
        on_a_page = 800 / (figure.get_figwidth() * 72)  # pixels a point
        assert all(
            text.get_fontsize() * on_a_page >= 7.5
            for text in (*axes.get_legend().get_texts(), *axes.get_xticklabels())
        )


def test_seconds_are_written_without_powers():
    figure = curves([row for clients in (1, 4, 16) for row in point(clients)])
    right = figure.axes[1]
    right.set_ylim(0.01, 10)
    figure.draw_without_rendering()
    written = [text.get_text() for text in right.get_yticklabels()]
    assert {"0.01", "0.1", "1", "10"} <= set(written)


def test_without_a_curve_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no curve"):
        curves([Row("hook/toy", "", Series("ours", (1.0,)))])
