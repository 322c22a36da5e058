import pytest

from bench.figures import Kind, Row, Series, Unit


def times(label: str, *values: float) -> Series:
    return Series(label, values)


def rates(label: str, *values: float) -> Series:
    return Series(label, values, Unit.BYTES_PER_SECOND)


def test_median_is_the_middle_value_and_ignores_an_outlier():
    assert times("x", 3.0, 1.0, 100.0).median == 3.0
    assert times("x", 1.0, 2.0, 4.0, 100.0).median == 3.0


def test_quartiles_hold_the_middle_half():
    assert times("x", 5.0, 1.0, 2.0, 4.0, 3.0).quartiles == (2.0, 4.0)
    assert times("x", 7.0).quartiles == (7.0, 7.0)


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.0, 0.0), (0.5, 50.0), (0.99, 99.0), (0.995, 99.5), (1.0, 100.0)]
)
def test_a_quantile_lies_between_the_values_beside_it(quantile: float, value: float):
    hundred = tuple(float(i) for i in reversed(range(101)))
    assert Series("x", hundred, quantile=quantile).value == pytest.approx(value)
    assert Series("x", (7.0,), quantile=quantile).value == 7.0


def test_a_figure_compares_what_stands_for_the_series():
    steady = Series("alone", (1.0,) * 200, quantile=0.99)
    seldom = Series("ours", (1.0,) * 197 + (3.0,) * 3, quantile=0.99)
    assert Row("r", "", seldom, steady, Kind.COST, goal=1.2).figure == pytest.approx(3.0)


def test_a_series_without_values_is_an_error():
    with pytest.raises(ValueError, match="at least one value"):
        times("nothing")


def test_speed_up_of_times_is_theirs_over_ours():
    row = Row("r", "", times("ours", 1.0, 2.0, 9.0), times("theirs", 9.0, 10.0, 10.5))
    assert row.figure == 5.0


def test_speed_up_of_rates_is_ours_over_theirs():
    row = Row("r", "", rates("ours", 90.0), rates("theirs", 100.0))
    assert row.figure == pytest.approx(0.9)


def test_cost_is_ours_over_theirs():
    row = Row("r", "", times("ours", 3.0), times("theirs", 2.0), Kind.COST)
    assert row.figure == 1.5


def test_a_bound_is_ours_alone():
    series = Series("ours", (7.0, 5.0, 6.0), Unit.BYTES)
    assert Row("r", "", series, kind=Kind.BOUND).figure == 6.0


def test_without_a_baseline_there_is_no_figure():
    row = Row("r", "", times("ours", 1.0), goal=2.0)
    assert row.figure is None
    assert row.met is None


def test_series_of_different_units_cannot_be_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        Row("r", "", times("ours", 1.0), rates("theirs", 1.0))


@pytest.mark.parametrize(("ours", "met"), [(4.9, True), (5.0, True), (5.1, False)])
def test_a_speed_up_must_reach_its_goal(ours: float, met: bool):
    row = Row("r", "", times("ours", ours), times("theirs", 10.0), goal=2.0)
    assert row.met is met


@pytest.mark.parametrize(("ours", "met"), [(0.99, True), (1.0, True), (1.01, False)])
def test_a_cost_must_stay_within_its_goal(ours: float, met: bool):
    row = Row("r", "", times("ours", ours), times("theirs", 1.0), Kind.COST, goal=1.0)
    assert row.met is met


@pytest.mark.parametrize(("ours", "met"), [(255.0, True), (256.0, True), (257.0, False)])
def test_a_bound_must_stay_within_its_goal(ours: float, met: bool):
    row = Row("r", "", Series("ours", (ours,), Unit.BYTES), kind=Kind.BOUND, goal=256.0)
    assert row.met is met


def test_without_a_goal_there_is_nothing_to_reach():
    assert Row("r", "", times("ours", 1.0), times("theirs", 10.0)).met is None
