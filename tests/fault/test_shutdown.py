"""A daemon that is ended while clients are at every stage of their runs ends, and tells them."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

from tests.fault import specs
from tests.fault.client import Client, Script
from tests.fault.conftest import LIMITS
from tests.fault.daemon import daemon

SPEC, UPLOADS = specs.uploading()
LARGE = Script(specs.large(), at="tensors")
HANGING = Script(specs.interactive(), interacts=True, at="callback")


def test_clients_at_every_stage_are_told() -> None:
    with ExitStack() as stack, daemon(*LIMITS, "--grace-period", "1") as victim:

        def start(script: Script, kind: str) -> Client:
            client = stack.enter_context(Client.runs(victim.address, script))
            client.wait_for(kind)
            return client

        started = [
            start(LARGE, "tensors"),
            start(HANGING, "callback"),
            start(Script(SPEC, interacts=True, uploads=UPLOADS, at="upload"), "upload"),
        ]
        waiting = [start(LARGE, "accepted"), start(HANGING, "accepted")]
        flood = stack.enter_context(Client.floods(victim.address, Script(specs.long(8)), 32))
        flood.wait_for("flooding")
        os.kill(victim.pid, signal.SIGTERM)
        for client in waiting:
            assert client.finish()[-1] == ("ended", "UNAVAILABLE", "SHUTTING_DOWN")
        flood.go_on()
        ends = {told[1:] for told in flood.finish() if told[0] == "ended"}
        assert ends == {("OK", ""), ("UNAVAILABLE", "SHUTTING_DOWN")}
        victim.wait_for("message", "stopped")
        for client in started:
            client.go_on()  # a reader hears of the end behind what it has not read
            assert client.finish()[-1][:2] == ("ended", "UNAVAILABLE")
