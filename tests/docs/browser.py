"""A Chromium without a window, driven over pipes with its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM", "chromium")
TALLEST = 3000
"""Pixels of the window's height, and so of a screenshot's."""


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, commands: int, messages: int) -> None:
        """Opens the tab.

        Args:
            commands: a file descriptor from which the browser reads.
            messages: one to which it writes.
        """
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._messages = messages
        self._received = [b""]
        self._sent = 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # So that no page remembers what another one has stored, such as its colours.
        self.call("Page.addScriptToEvaluateOnNewDocument", source="localStorage.clear()")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command, and returns its result.

        Raises:
            AssertionError: the browser answers with an error, or has ended.
        """
        self._sent += 1
        command: dict[str, Any] = {"id": self._sent, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._sent:
                assert "error" not in message, (method, message)
                result: dict[str, Any] = message["result"]
                return result
            self._events.append(message)

    def open(self, page: Path, width: int, scheme: str) -> list[str]:
        """Loads a page.

        Args:
            page: the file.
            width: of the window, in pixels.
            scheme: the colours that the user prefers, "light" or "dark".

        Returns:
            What went wrong: errors of the console, exceptions, files that could not be loaded.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=TALLEST,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self._events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(self._read())
        # Pictures that are loaded late, and what the page does when it is idle.
        self.evaluate(
            "Promise.all([...document.images].map(i => { i.loading = 'eager';"
            " return i.decode().catch(() => 0); }))"
            ".then(() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50))))"
        )
        return [wrong for event in self._events if (wrong := _wrong(event))]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; that of a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshots(self, path: Path) -> None:
        """Writes the page from its top to its bottom, as wide as the window.

        Args:
            path: of a PNG. A page higher than `TALLEST` pixels is divided, and the files' names
                end with a number.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        height = math.ceil(self.call("Page.getLayoutMetrics")["cssContentSize"]["height"])
        width = self.evaluate("innerWidth")
        for number in range(math.ceil(height / TALLEST)):
            top = self.evaluate(f"scrollTo(0, {number * TALLEST}), Math.round(scrollY)")
            clip = {"x": 0, "y": top, "width": width, "height": min(TALLEST, height), "scale": 1}
            shot = self.call("Page.captureScreenshot", optimizeForSpeed=True, clip=clip)
            part = path if height <= TALLEST else path.with_stem(f"{path.stem}-{number + 1}")
            part.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Ends the browser."""
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self._session = None
            self.call("Browser.close")
        self._commands.close()
        os.close(self._messages)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._received[-1]:
            self._received.append(os.read(self._messages, 1 << 20))
            assert self._received[-1], "the browser has ended"
        message, _, rest = b"".join(self._received).partition(b"\0")
        self._received = [rest]
        parsed: dict[str, Any] = json.loads(message)
        return parsed


def _wrong(event: dict[str, Any]) -> str:
    """What an event says went wrong; empty where nothing did."""
    params = event.get("params", {})
    match event.get("method"):
        case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
            return f"{params['entry']['text']} {params['entry'].get('url', '')}"
        case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
            return " ".join(str(part.get("value", part)) for part in params["args"])
        case "Runtime.exceptionThrown":
            return str(params["exceptionDetails"])
        case "Network.loadingFailed" if not params.get("canceled"):
            return str(params["errorText"])
    return ""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Starts a Chromium, and ends it.

    Raises:
        FileNotFoundError: there is no Chromium; `apt-get install chromium` brings one, and the
            environment variable CHROMIUM may name another.
    """
    # The browser reads commands from file descriptor 3 and writes to 4.
    reads, commands = os.pipe()
    messages, writes = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        flags = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}",
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--allow-file-access-from-files", "--no-first-run",
            "--disable-background-networking", "--disable-component-update",
            "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
        ]  # fmt: skip
        program = 'exec "$0" "$@" 3<&"$IN" 4>&"$OUT"'
        process = subprocess.Popen(
            ["bash", "-c", program, CHROMIUM, *flags],
            env=os.environ | {"IN": str(reads), "OUT": str(writes)},
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        opened = Browser(commands, messages)
        try:
            yield opened
        finally:
            opened.close()
            process.wait(20)
