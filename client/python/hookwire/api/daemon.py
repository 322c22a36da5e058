"""A `hookwired` of this process's own."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hookwire import errors

VARIABLE = "HOOKWIRED"
"""The environment variable that names the daemon."""

# At its end the daemon waits for runs of other clients for 30 seconds.
_GRACE_SECONDS = 40.0
_END_SECONDS = 1.0
_LAST_LINES = 20


def find(daemon: str | os.PathLike[str] | None) -> str:
    """The path of the daemon.

    It is the argument, or else what `HOOKWIRED` names, or else the `hookwired` beside this Python,
    where pip installs it, or else the one on the PATH.

    Raises:
        DaemonError: there is none.
    """
    named = os.environ.get(VARIABLE) if daemon is None else os.fspath(daemon)
    # The environment of a notebook's kernel is often not the one whose commands are on the PATH.
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    found = shutil.which(named) if named else shutil.which("hookwired", path=places)
    if found is not None:
        return found
    if named:
        by = f"the environment variable {VARIABLE}" if daemon is None else "daemon="
        raise errors.DaemonError(f"{by} names {named}, which is not a program")
    raise errors.DaemonError(
        "there is no hookwired beside this Python or on the PATH: install hookwire-server, or name "
        f"the daemon with daemon= or the environment variable {VARIABLE}; in Hookwire's repository "
        "it is build/release/bin/hookwired"
    )


class Daemon:
    """A daemon that is being started, on a free port of the loopback interface.

    It is in a session of its own, so that Ctrl-C in a terminal reaches this process alone.

    Args:
        checkpoint: a directory as `save_pretrained` writes it.
        flags: more of them, such as ["--numerics", "reference"].
        daemon: as `find` takes it.

    Attributes:
        pid: its process.

    Raises:
        DaemonError: there is none.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        flags: Sequence[str],
        daemon: str | os.PathLike[str] | None,
    ) -> None:
        model = os.fspath(Path(checkpoint).expanduser())
        command = [find(daemon), "--model", model, "--listen", "127.0.0.1:0", *map(str, flags)]
        # Closed by `close`.
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            raise errors.DaemonError(f"{command[0]} cannot be started: {error}") from error
        self.pid = self._process.pid

    def address(self, timeout: float) -> str:
        """Waits until it serves.

        Args:
            timeout: seconds until it has to.

        Returns:
            "127.0.0.1:port".

        Raises:
            DaemonError: it ends instead, or does not serve in time; the message has the last lines
                that it wrote.
        """
        assert self._process.stdout is not None
        out, line, deadline = self._process.stdout.fileno(), b"", time.monotonic() + timeout
        while not line.endswith(b"\n"):
            left = max(deadline - time.monotonic(), 0)
            if not select.select([out], [], [], left)[0]:
                self._process.kill()
                raise self._error(f"hookwired does not serve after {timeout:g} seconds")
            read = os.read(out, 1024)
            if not read:
                status = self._process.wait()
                raise self._error(f"hookwired did not start: it ended with status {status}")
            line += read
        return line.decode().split()[-1]

    def check(self) -> None:
        """Checks that it still runs, after a connection to it has failed.

        Raises:
            DaemonError: it has ended; the message has the last lines that it wrote.
        """
        try:
            # The connection ends a moment before the process does.
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return
        raise self._error(f"hookwired has ended by itself, with status {status}")

    def _error(self, what: str) -> errors.DaemonError:
        self._log.seek(0)
        lines = self._log.read().splitlines()[-_LAST_LINES:]
        said = "\n".join([f"{what}; its last lines:", *lines]) if lines else what
        return errors.DaemonError(said)

    def close(self) -> None:
        """Ends it, with SIGTERM; where that does not help, with SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
