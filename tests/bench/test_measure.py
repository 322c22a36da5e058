from collections.abc import Callable

import pytest

from bench.measure import Effort, collect, durations
from bench.pace import Stopwatch


class FakeClock:
    """Seconds that pass only when a side says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds

        return call


def test_sides_take_turns_and_warm_up_is_not_counted():
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) or len(calls) for name in "AB"}
    results = collect(sides, Effort(seconds=0, least=2, most=2, warm_up=1))
    assert calls == ["A", "B"] * 3
    assert results == {"A": [3, 5], "B": [4, 6]}


def test_durations_are_those_of_each_side():
    clock = FakeClock()
    sides = {"fast": clock.takes(1.0), "slow": clock.takes(3.0)}
    assert durations(sides, Effort(0, least=2, most=9), clock) == {
        "fast": (1.0, 1.0),
        "slow": (3.0, 3.0),
    }


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 2), (12.0, 3), (1000.0, 5)])
def test_rounds_end_with_the_time_but_not_before_the_least(seconds: float, rounds: int):
    clock = FakeClock()
    times = durations({"a": clock.takes(5.0)}, Effort(seconds, least=2, most=5), clock)
    assert len(times["a"]) == rounds


def test_a_pace_leaves_the_first_message_out_of_the_second_rate():
    clock = FakeClock()
    watch = Stopwatch(clock)
    for seconds, count in ((1.0, 0), (3.0, 10), (0.5, 30), (0.5, 30), (1.0, 0)):
        clock.now += seconds
        watch.received(count)
    pace = watch.stop()
    assert (pace.first, pace.last, pace.whole) == (4.0, 5.0, 6.0)
    assert pace.rate_between == pytest.approx(60 / 1)
    assert pace.rate == pytest.approx(70 / 6)
    assert pace.rate_after_first == pytest.approx(60 / 2)
