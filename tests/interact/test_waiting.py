"""A pass that waits for its client's function: what goes on meanwhile, and how waiting ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import hookwire
import pytest
import torch
from hookwire import ops

from tests.client.test_daemon import daemon

PROMPT = "When Mary and John went to the store"
STREAM = "blocks.1.hook_in"
# A wait that ends sooner was not for the server's 30 seconds.
SOON = 10.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """One place for passes that wait, and a second to wait in."""
    with daemon("--max-interactive", "1", "--hook-timeout", "1") as address:
        yield address


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """One place for passes that wait, for as long as it takes."""
    with daemon("--max-interactive", "1", "--hook-timeout", "600") as address:
        yield address


@pytest.fixture(scope="module")
def roomy() -> Iterator[str]:
    """Four places."""
    with daemon("--hook-timeout", "600") as address:
        yield address


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def connect(address: str) -> hookwire.RemoteModel:
    return hookwire.connect(address, tensors="torch", quiet=True)


class Waiting:
    """A function that waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        self.begun.set()
        assert self.may_go_on.wait(60)
        return tensor * 2

    def start(self, pool: ThreadPoolExecutor, model: hookwire.RemoteModel) -> Future[Any]:
        """A run that is waiting now."""
        run = pool.submit(model.run_with_hooks, PROMPT, [(STREAM, self)])
        assert self.begun.wait(SOON)
        return run


def doubled(model: hookwire.RemoteModel) -> Any:
    return model.run_with_hooks(PROMPT, [(STREAM, lambda tensor, hook: tensor * 2)])


def within(seconds: float, call: Callable[[], Any]) -> Any:
    start = time.monotonic()
    result = call()
    assert time.monotonic() - start < seconds
    return result


def test_other_runs_go_on_while_one_waits(roomy: str, pool: ThreadPoolExecutor) -> None:
    with connect(roomy) as one, connect(roomy) as other:
        plain = other(PROMPT)
        waiting = Waiting()
        run = waiting.start(pool, one)
        assert torch.equal(within(SOON, lambda: other(PROMPT)), plain)
        assert torch.equal(within(SOON, lambda: one(PROMPT)), plain)
        want = within(SOON, lambda: doubled(other))
        assert not run.done()
        waiting.may_go_on.set()
        assert torch.equal(run.result(SOON), want)


def test_four_wait_and_the_fifth_waits_for_a_place(roomy: str, pool: ThreadPoolExecutor) -> None:
    with connect(roomy) as model:
        four = [Waiting() for _ in range(4)]
        runs = [waiting.start(pool, model) for waiting in four]
        fifth = Waiting()
        last = pool.submit(model.run_with_hooks, PROMPT, [(STREAM, fifth)])
        assert not fifth.begun.wait(0.3)
        four[2].may_go_on.set()
        assert fifth.begun.wait(SOON)
        for waiting in (*four, fifth):
            waiting.may_go_on.set()
        want = doubled(model)
        assert all(torch.equal(run.result(SOON), want) for run in (*runs, last))


def test_read_only_functions_need_no_place(patient: str, pool: ThreadPoolExecutor) -> None:
    with connect(patient) as one, connect(patient) as other:
        waiting = Waiting()
        run = waiting.start(pool, one)
        seen = []
        look = hookwire.read_only(lambda tensor, hook: seen.append(hook.name))
        within(SOON, lambda: other.run_with_hooks(PROMPT, [(STREAM, look)]))
        assert seen == [STREAM]
        waiting.may_go_on.set()
        run.result(SOON)


def test_on_an_idle_server_a_function_may_take_its_time(
    address: str, pool: ThreadPoolExecutor
) -> None:
    with connect(address) as model:
        waiting = Waiting()
        run = waiting.start(pool, model)
        time.sleep(1.5)  # over --hook-timeout
        within(SOON, lambda: model(PROMPT))  # a plain run wants no place
        time.sleep(0.3)
        waiting.may_go_on.set()
        result = run.result(SOON)
        assert torch.equal(result, doubled(model))


def test_a_pass_is_ended_when_another_wants_its_place(
    address: str, pool: ThreadPoolExecutor
) -> None:
    with connect(address) as one, connect(address) as other:
        want = doubled(one)
        waiting = Waiting()
        run = waiting.start(pool, one)
        start = time.monotonic()
        assert torch.equal(within(SOON, lambda: doubled(other)), want)
        assert time.monotonic() - start > 0.5  # it had its second
        waiting.may_go_on.set()
        with pytest.raises(hookwire.HookTimeoutError, match="1 s") as caught:
            run.result(SOON)
        assert caught.value.metadata["seconds"] == "1"
        assert torch.equal(doubled(one), want)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT means what it does in a terminal, even for tests that a shell runs beside itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CHILD = """
import sys, time
import hookwire

def wait(tensor, hook):
    print("waiting", flush=True)
    time.sleep(60)

model = hookwire.connect(sys.argv[1], tensors="numpy", quiet=True)
try:
    model.run_with_hooks([2, 5, 6, 7], fwd_hooks=[("blocks.1.hook_in", wait)])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "says"), [(signal.SIGKILL, ""), (signal.SIGINT, "interrupted")])
def test_a_client_that_ends_while_it_is_waited_for_gives_its_place_back(
    patient: str, number: int, says: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, patient], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "waiting"
        child.send_signal(number)
        assert child.communicate(timeout=SOON)[0].strip() == says
    finally:
        child.kill()
        child.wait()
    with connect(patient) as model:
        within(SOON, lambda: doubled(model))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_run_waits_for_a_place_ends_it(
    patient: str, pool: ThreadPoolExecutor
) -> None:
    with connect(patient) as one, connect(patient) as other:
        waiting = Waiting()
        run = waiting.start(pool, one)
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            doubled(other)
        waiting.may_go_on.set()
        run.result(SOON)
        within(SOON, lambda: doubled(other))


def test_closing_the_connection_ends_a_waiting_pass(patient: str, pool: ThreadPoolExecutor) -> None:
    one = connect(patient)
    waiting = Waiting()
    run = waiting.start(pool, one)
    one.close()
    with connect(patient) as other:
        within(SOON, lambda: doubled(other))
    waiting.may_go_on.set()
    with pytest.raises(hookwire.CancelledError):
        run.result(SOON)


def test_a_timeout_counts_what_functions_take(patient: str) -> None:
    with connect(patient) as model:
        with pytest.raises(hookwire.DeadlineError):
            model.run_with_hooks(
                PROMPT, [(STREAM, lambda tensor, hook: time.sleep(0.5))], timeout=0.2
            )
        within(SOON, lambda: doubled(model))


def test_a_stream_that_is_left_early_gives_its_place_back(patient: str) -> None:
    with connect(patient) as model:
        hooks = [("blocks.*.hook_in", lambda tensor, hook: tensor * 2)]
        for name, _ in model.stream(PROMPT, "blocks.*.hook_in", fwd_hooks=hooks):
            assert name == "blocks.0.hook_in"
            break
        within(SOON, lambda: doubled(model))


def test_a_function_that_raises_gives_its_place_back(patient: str) -> None:
    def fail(tensor: torch.Tensor, hook: Any) -> None:
        raise LookupError("mine")

    with connect(patient) as model:
        with pytest.raises(LookupError) as caught:  # kept, with all that its traceback refers to
            model.run_with_hooks(PROMPT, [(STREAM, fail)])
        within(SOON, lambda: doubled(model))
        assert caught.traceback[-1].name == "fail"


def test_a_function_may_use_the_model_itself(roomy: str) -> None:
    with connect(roomy) as model:
        _, cache = model.run_with_cache(PROMPT, names_filter=STREAM)

        def from_another_run(tensor: torch.Tensor, hook: Any) -> Any:
            _, inner = model.run_with_cache(PROMPT, names_filter=hook.name)
            return inner[hook.name]

        hooks = [(STREAM, ops.zero()), (STREAM, from_another_run)]
        _, seen = model.run_with_cache(PROMPT, names_filter=STREAM, fwd_hooks=hooks)
        assert torch.equal(seen[STREAM], cache[STREAM])


def test_many_threads_at_once(roomy: str, pool: ThreadPoolExecutor) -> None:
    with connect(roomy) as model:

        def run(factor: int) -> Any:
            return model.run_with_hooks(PROMPT, [(STREAM, lambda tensor, hook: tensor * factor)])

        want = {
            factor: model.run_with_hooks(PROMPT, [(STREAM, ops.scale(factor))])
            for factor in range(1, 5)
        }
        for _ in range(5):
            runs = {factor: pool.submit(run, factor) for factor in want}
            assert all(torch.equal(runs[factor].result(SOON), want[factor]) for factor in want)
