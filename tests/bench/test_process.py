import os
import time

import pytest

from bench.process import Server, cpu_seconds


def test_cpu_time_is_that_of_user_and_system_mode_whatever_the_program_is_called():
    fields = ["1", "2", *["0"] * 8, "250", "150", *["9"] * 30]
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"77 (a ) name) S {' '.join(fields)}"
    assert cpu_seconds(stat) == pytest.approx(400 / tick)


def test_a_process_that_computes_uses_cpu_time():
    own = Server(os.getpid(), "")
    before, clock = own.cpu_seconds(), time.process_time()
    while time.process_time() < clock + 0.1:
        sum(range(1000))
    assert own.cpu_seconds() - before == pytest.approx(time.process_time() - clock, abs=0.05)
