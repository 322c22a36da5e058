"""interp-engine's own server: installed, started, and asked over HTTP as its users ask it.

It lies in a virtual environment of its own in the cache directory. What it has in common with the
bench (torch and Transformers above all) it finds in the bench's environment, so that both sides
compute with the same versions.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.cache import CACHE, LeftOutError
from bench.process import answering, environment

if TYPE_CHECKING:
    from typing_extensions import Self

VERSION = "1.14.2"
NAME = f"interp-engine {VERSION}"
_PATH = "/v1/capture"
_HEADERS = {"Content-Type": "application/json"}
_CONSTRAINTS = Path(__file__).resolve().parents[1] / "requirements" / "constraints.txt"
# hookwired's own default. Threads that spin longer keep the cores from what still computes.
_SPIN_COUNT = "1000"
_TOKEN = "INTERP_ENGINE_SERVER_TOKEN"
# A package index that cannot be reached is no reason to wait for minutes.
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1")
_NUMPY: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "bfloat16": np.dtype("<i2")}

Run = Callable[[Sequence[str | Path]], "subprocess.CompletedProcess[str]"]


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def python(directory: Path = CACHE / f"interp-engine-{VERSION}", run: Run = _run) -> Path:
    """The interpreter of an environment that has interp-engine; it is made first where needed.

    Args:
        directory: of the environment.
        run: runs a command.

    Raises:
        LeftOutError: it cannot be installed here.
    """
    interpreter, stamp = directory / "bin" / "python", directory / "made-of.json"
    shared = sysconfig.get_path("purelib")
    made_of = json.dumps([VERSION, sys.version, shared, _CONSTRAINTS.read_text()])
    if stamp.exists() and stamp.read_text() == made_of:
        return interpreter
    print(f"installing {NAME} in {directory}", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    _require(run([sys.executable, "-m", "venv", directory]))
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(_require(run([interpreter, "-c", asked])).strip())
    own.mkdir(parents=True, exist_ok=True)
    (own / "bench.pth").write_text(f"{shared}\n")
    wanted = f"interp-engine[server]=={VERSION}"
    _require(run([interpreter, *_PIP, wanted, "--constraint", _CONSTRAINTS]))
    stamp.write_text(made_of)
    return interpreter


def _require(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed.

    Raises:
        LeftOutError: it failed.
    """
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    why = lines[-1].removeprefix("ERROR: ") if lines else f"status {done.returncode}"
    raise LeftOutError(f"{NAME} cannot be installed: {why}")


@contextmanager
def serving(checkpoint: Path, threads: int, dtype: torch.dtype) -> Iterator[str]:
    """Serves a checkpoint on the CPU; its address.

    Raises:
        LeftOutError: interp-engine cannot be installed here.
    """
    address = _free_address()
    command = command_line(python(), checkpoint, address, dtype)
    with answering(command, address, lambda: _is_ready(address), settings(threads)) as server:
        yield server.address


def command_line(
    interpreter: Path, checkpoint: Path, address: str, dtype: torch.dtype
) -> list[str | Path]:
    """How it is started: as its documentation has it, without a line for each request."""
    host, port = address.split(":")
    return [
        *(interpreter, "-m", "interp_engine.server", "--model", checkpoint),
        *("--backend", "eager", "--device", "cpu", "--dtype", _name(dtype)),
        *("--host", host, "--port", port, "--log-level", "warning"),
    ]


def settings(threads: int) -> dict[str, str]:
    """Environment variables of its process.

    It has no options for its threads, and they would spin after their work.
    """
    inherited = {name: value for name, value in environment().items() if name != _TOKEN}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": _SPIN_COUNT,
        "HF_HUB_OFFLINE": "1",
    }


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def _is_ready(address: str) -> bool:
    """Whether the model is loaded.

    Raises:
        RuntimeError: it could not be loaded.
    """
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return False
    if answer["status"] == "failed":
        raise RuntimeError(f"{NAME} did not load the checkpoint: {answer['error']}")
    return bool(answer["status"] == "ready")


def point(layer: int) -> str:
    """Its name of `blocks.<layer>.hook_resid_post`."""
    return f"resid_post.{layer}"


def request(tokens: Sequence[int], points: Sequence[str], dtype: torch.dtype) -> bytes:
    """The body that asks for points of one prompt, at every position."""
    asked = {
        "prompt_token_ids": list(tokens),
        "points": list(points),
        "output_dtype": _name(dtype),
    }
    return json.dumps(asked).encode()


def activations(answer: bytes) -> dict[str, Tensor]:
    """The tensors of an answer by their point, each [pos, d_model]."""
    found: Mapping[str, Any] = json.loads(answer)["activations"]
    return {name: _tensor(payload) for name, payload in found.items()}


def _tensor(payload: Mapping[str, Any]) -> Tensor:
    """A tensor from base64 of its bytes, little-endian; bfloat16 as its 16 bits."""
    # A bytearray, because torch wants memory that can be written.
    raw = bytearray(base64.b64decode(payload["data"]))
    tensor = torch.from_numpy(np.frombuffer(raw, dtype=_NUMPY[payload["dtype"]]))
    return tensor.view(getattr(torch, payload["dtype"])).reshape(payload["shape"])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Client:
    """A connection that stays open. Use it in a `with` block.

    Args:
        address: of the server, "host:port".
    """

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def capture(
        self, tokens: Sequence[int], points: Sequence[str], dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Points of one prompt, each [pos, d_model].

        Raises:
            RuntimeError: the server refuses.
        """
        return activations(self._post(request(tokens, points, dtype)))

    def _post(self, body: bytes) -> bytes:
        try:
            return self._ask(body)
        except (ConnectionError, http.client.RemoteDisconnected):
            # uvicorn closes a connection that has been idle for 5 s.
            self._connection.close()
            return self._ask(body)

    def _ask(self, body: bytes) -> bytes:
        self._connection.request("POST", _PATH, body, _HEADERS)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"{NAME} answered {response.status}: {answer.decode()}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
