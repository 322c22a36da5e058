"""That the check for leaks finds them: each is planted, and gone again."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import hookwire
import pytest

from tests.fault import specs
from tests.fault.client import Script
from tests.fault.conftest import Victim
from tests.fault.footprint import SLACK_BYTES, Footprint, assert_nothing_leaks, busy, leaks

LEAKER = """
import mmap, os, sys, threading
kept = []
print("ready", flush=True)
for what in map(str.strip, sys.stdin):
    if what == "thread":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif what == "descriptor":
        kept.append(os.open("/dev/null", os.O_RDONLY))
    elif what == "segment":
        file = os.memfd_create("kept")
        os.truncate(file, 4096)
        kept.append(mmap.mmap(file, 4096))
        os.close(file)
    else:
        kept.append(b"x" * int(what))
    print("leaked", flush=True)
"""


@pytest.fixture
def leaker() -> Iterator[subprocess.Popen[str]]:
    """A process that leaks what it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", LEAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("thread", "1 more threads"),
        ("descriptor", "1 more descriptors '/dev/null' than the 0 before"),
        ("segment", "1 mappings of memory files, 0 before"),
        (str(SLACK_BYTES + (8 << 20)), "MiB of memory"),
    ],
)
def test_what_a_process_keeps_is_found(leaker: subprocess.Popen[str], what: str, said: str) -> None:
    before = Footprint.of(leaker.pid)
    assert Footprint.of(leaker.pid).grown(before) == []
    assert leaker.stdin is not None
    assert leaker.stdout is not None
    leaker.stdin.write(f"{what}\n")
    leaker.stdin.flush()
    leaker.stdout.readline()
    assert said in "\n".join(Footprint.of(leaker.pid).grown(before))


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (Script(specs.large(), at="tensors"), "tensors"),
        (Script(specs.interactive(), interacts=True, at="callback"), "callback"),
    ],
    ids=["reader", "function"],
)
def test_a_run_that_a_client_keeps_open_is_a_leak(
    victim: Victim, script: Script, kind: str
) -> None:
    with victim.start(script) as client:
        client.wait_for(kind)
        victim.runs += client.accepted
        with pytest.raises(AssertionError, match=r"run .* has ended 0 times") as caught:
            assert_nothing_leaks(victim.daemon, victim.idle, victim.runs, patience=0.3)
        assert "1 more descriptors 'socket'" in str(caught.value)
        said = busy(victim.daemon)
        assert {"1 running runs", "1 open results"} <= set(said)
    victim.assert_well()


def test_runs_that_wait_are_counted(victim: Victim) -> None:
    with victim.start(Script(specs.interactive(), interacts=True, at="callback")) as first:
        first.wait_for("callback")
        with victim.start(Script(specs.interactive(), interacts=True, at="callback")) as second:
            second.wait_for("accepted")
            assert {"1 running runs", "1 waiting runs", "2 open results"} <= set(
                busy(victim.daemon)
            )
            victim.runs += [*first.accepted, *second.accepted]
    victim.assert_well()


def test_bytes_that_nobody_reads_are_counted(victim: Victim) -> None:
    with victim.start(Script(specs.everything(), at="tensors")) as client:
        client.wait_for("tensors")
        victim.runs += client.accepted
        assert re.search(r"\d+ buffered bytes", "\n".join(busy(victim.daemon)))
    victim.assert_well()


def test_a_run_that_nobody_has_ended_is_a_leak(victim: Victim) -> None:
    assert_nothing_leaks(victim.daemon, victim.idle, victim.runs)
    with pytest.raises(AssertionError) as caught:
        assert_nothing_leaks(
            victim.daemon, victim.idle, [*victim.runs, "no-such-run"], patience=0.5
        )
    assert str(caught.value) == "the daemon leaks:\nrun no-such-run has ended 0 times"


def test_shared_memory_that_a_client_keeps_is_a_leak(victim: Victim) -> None:
    with hookwire.connect(victim.address, tensors="numpy", quiet=True) as model:
        model(specs.prompt(8, 0))
        said = "\n".join(leaks(victim.daemon, victim.idle))
        assert "mappings of memory files, 0 before" in said
        assert "2 more descriptors 'socket'" in said
        assert "1 shared memory clients" in busy(victim.daemon)
    victim.assert_well()
