"""Clients that are killed anywhere, many of them: those that stay get what they would get alone."""

from __future__ import annotations

import random

from tests.fault import specs
from tests.fault.client import Script
from tests.fault.conftest import Victim

ROUNDS = 12
AT_ONCE = 4
SPEC, UPLOADS = specs.uploading()


def doomed(rng: random.Random) -> Script:
    """A run of any kind whose client is killed at one of its first messages, or of its last."""
    kind = rng.choice(("everything", "large", "long", "interactive", "upload"))
    at = rng.choice((0, 1, 2, 3, 5, 10, 20, 40))
    match kind:
        case "everything":
            return Script(specs.everything(rng.randrange(100)), at=at, leave="kill")
        case "large":
            return Script(specs.large(), at=at, leave="kill")
        case "long":
            return Script(specs.long(rng.choice((20, 500))), at=min(at, 3), leave="kill")
        case "interactive":
            script = specs.interactive(rng.randrange(100))
            return Script(script, interacts=True, at=min(at, 2), leave="kill")
        case _:
            # In the middle of the values, or of what comes after them.
            where = rng.choice(("upload", 0, 1))
            return Script(SPEC, interacts=True, uploads=UPLOADS, at=where, leave="kill")


def test_clients_that_are_killed_leave_nothing_behind(victim: Victim) -> None:
    rng = random.Random(0)
    steady = Script(specs.everything(7))
    alone = victim.answer(steady)
    for _ in range(ROUNDS):
        clients = [victim.start(doomed(rng)) for _ in range(AT_ONCE)]
        try:
            assert victim.answer(steady) == alone
        finally:
            for client in clients:
                victim.finish(client)
        # A run of a few messages may have ended before the one at which its client would be killed.
        ends = [client.told[-1] if client.told else None for client in clients]
        assert all(
            client.process.exitcode == -9 or end == ("ended", "OK", "")
            for client, end in zip(clients, ends, strict=True)
        ), ends
    victim.assert_well()
