"""What the rows share: servers, baselines and clients, each started when a row first needs it."""

from __future__ import annotations

import contextlib
import gc
from types import TracebackType
from typing import TYPE_CHECKING

from bench.baselines import Baselines
from bench.cache import GIB, require_memory
from bench.checkpoints import Checkpoint
from bench.clients import Worker
from bench.daemon import Daemon, daemon
from bench.handwritten import python_server
from bench.interp_engine import serving
from bench.measure import Effort

if TYPE_CHECKING:
    from typing_extensions import Self


_BESIDE_WEIGHTS = 4 * GIB
"""What both sides need beside the mapped weights of a large checkpoint."""


class Workbench:
    """Use it in a `with` block, which stops what it has started.

    Attributes:
        threads: compute threads of either side.
        effort: how long to measure a row.
        quick: whether large things should be made smaller.
    """

    def __init__(self, *, threads: int, quick: bool) -> None:
        self.threads = threads
        self.quick = quick
        self.effort = Effort.quick() if quick else Effort.full()
        self._daemons: dict[str, Daemon] = {}
        self._baselines: dict[str, Baselines] = {}
        self._python_servers: dict[str, str] = {}
        self._interp_engines: dict[str, str] = {}
        self._workers: dict[str, Worker] = {}
        self._started = contextlib.ExitStack()
        self._alone: str | None = None

    def daemon(self, checkpoint: Checkpoint) -> Daemon:
        """A daemon that serves the checkpoint."""
        self._make_room(checkpoint)
        if checkpoint.name not in self._daemons:
            self._daemons[checkpoint.name] = self._started.enter_context(
                daemon(checkpoint.directory(), self.threads, dtype=checkpoint.dtype)
            )
        return self._daemons[checkpoint.name]

    def baselines(self, checkpoint: Checkpoint) -> Baselines:
        """TransformerLens and Transformers with the checkpoint."""
        self._make_room(checkpoint)
        if checkpoint.name not in self._baselines:
            self._baselines[checkpoint.name] = Baselines(checkpoint)
        return self._baselines[checkpoint.name]

    def python_server(self, checkpoint: Checkpoint) -> str:
        """The address of a hand-written Python server of the checkpoint."""
        self._make_room(checkpoint)
        if checkpoint.name not in self._python_servers:
            self._python_servers[checkpoint.name] = self._started.enter_context(
                python_server(checkpoint.directory(), self.threads, checkpoint.dtype)
            )
        return self._python_servers[checkpoint.name]

    def interp_engine(self, checkpoint: Checkpoint) -> str:
        """The address of interp-engine's server with the checkpoint.

        Raises:
            LeftOutError: interp-engine cannot be installed here.
        """
        self._make_room(checkpoint)
        if checkpoint.name not in self._interp_engines:
            self._interp_engines[checkpoint.name] = self._started.enter_context(
                serving(checkpoint.directory(), self.threads, checkpoint.dtype)
            )
        return self._interp_engines[checkpoint.name]

    def worker(self, name: str) -> Worker:
        """A process for clients; each name has its own."""
        if name not in self._workers:
            self._workers[name] = self._started.enter_context(Worker())
        return self._workers[name]

    def _make_room(self, checkpoint: Checkpoint) -> None:
        """Stops all others before and after a large checkpoint, which gets the memory for itself.

        Raises:
            LeftOutError: there is not enough of it.
        """
        if checkpoint.name == self._alone or not (checkpoint.large or self._alone):
            return
        self._started.close()
        for started in (
            self._daemons,
            self._baselines,
            self._python_servers,
            self._interp_engines,
            self._workers,
        ):
            started.clear()
        gc.collect()
        self._alone = None
        if checkpoint.large:
            require_memory(checkpoint.weight_bytes() + _BESIDE_WEIGHTS, checkpoint.name)
            self._alone = checkpoint.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.__exit__(kind, error, trace)
