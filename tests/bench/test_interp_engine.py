"""How the bench asks interp-engine's server, without that server."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from bench.cache import LeftOutError
from bench.interp_engine import (
    Client,
    activations,
    command_line,
    point,
    python,
    request,
    settings,
)
from bench.process import answering, environment
from bench.rows.interp_engine import rate

VALUES = [1.0, -2.0, 0.5, 3.0, 0.0, -0.25]


def answer(name: str, dtype: str, raw: bytes) -> bytes:
    payload = {"dtype": dtype, "shape": [3, 2], "data": base64.b64encode(raw).decode()}
    return json.dumps({"activations": {name: payload}}).encode()


def test_a_request_names_tokens_points_and_the_dtype_of_the_answer():
    body = json.loads(request([2, 7, 9], [point(0), point(5)], torch.bfloat16))
    assert body == {
        "prompt_token_ids": [2, 7, 9],
        "points": ["resid_post.0", "resid_post.5"],
        "output_dtype": "bfloat16",
    }


def test_an_answer_in_float32_is_its_bytes():
    found = activations(answer("resid_post.1", "float32", struct.pack("<6f", *VALUES)))
    assert list(found) == ["resid_post.1"]
    expected = torch.tensor(VALUES).reshape(3, 2)
    torch.testing.assert_close(found["resid_post.1"], expected, rtol=0, atol=0)


def test_an_answer_in_bfloat16_is_the_upper_half_of_float32():
    upper = b"".join(struct.pack("<f", value)[2:] for value in VALUES)
    found = activations(answer("resid_post.1", "bfloat16", upper))["resid_post.1"]
    expected = torch.tensor(VALUES, dtype=torch.bfloat16).reshape(3, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


class Peer(ThreadingHTTPServer):
    """Answers with float32 values; notes the connection that each request came by."""

    def __init__(self, *, status: int = 200, closes: bool = False) -> None:
        self.bodies: list[bytes] = []
        self.ports: list[int] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/capture"
                peer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                peer.ports.append(self.client_address[1])
                body = answer("resid_post.0", "float32", struct.pack("<6f", *VALUES))
                if status != 200:
                    body = b'{"detail": "no such point"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                # As after a time in which nothing came: without a word to the client.
                self.close_connection = closes

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


MakePeer = Callable[..., Peer]


@pytest.fixture
def peer() -> Iterator[MakePeer]:
    made: list[Peer] = []

    def make(**options: object) -> Peer:
        made.append(Peer(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.shutdown()
        one.server_close()


def test_a_client_keeps_its_connection(peer: MakePeer):
    served = peer()
    with Client(served.address) as client:
        for _ in range(3):
            found = client.capture([2, 3, 4], ["resid_post.0"], torch.float32)
    assert found["resid_post.0"].flatten().tolist() == VALUES
    assert len(served.ports) == 3
    assert len(set(served.ports)) == 1
    assert served.bodies[0] == request([2, 3, 4], ["resid_post.0"], torch.float32)


def test_a_connection_that_the_server_closed_is_opened_again(peer: MakePeer):
    served = peer(closes=True)
    with Client(served.address) as client:
        for _ in range(2):
            found = client.capture([2], ["resid_post.0"], torch.float32)
            time.sleep(0.05)  # until the other end is closed
    assert found["resid_post.0"].flatten().tolist() == VALUES
    assert len(set(served.ports)) == 2


def test_a_refusal_is_an_error_with_its_reason(peer: MakePeer):
    served = peer(status=422)
    with Client(served.address) as client, pytest.raises(RuntimeError, match=r"422.*no such point"):
        client.capture([2], ["resid_post.0"], torch.float32)


class Commands:
    """Stands in for the commands that make an environment; `pip` ends as it is told."""

    def __init__(self, site: Path, status: int = 0, error: str = "") -> None:
        self.ran: list[list[str]] = []
        self._site, self._status, self._error = site, status, error

    def __call__(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        self.ran.append([str(word) for word in command])
        if "pip" in self.ran[-1]:
            return subprocess.CompletedProcess(self.ran[-1], self._status, "", self._error)
        return subprocess.CompletedProcess(self.ran[-1], 0, f"{self._site}\n", "")


def test_a_package_that_cannot_be_installed_is_a_sentence(tmp_path: Path):
    error = "WARNING: retrying\nERROR: No matching distribution found for interp-engine\n\n"
    run = Commands(tmp_path / "site", 1, error)
    reason = r"^interp-engine 1\.14\.2 cannot be installed: No matching distribution found for "
    for _ in range(2):  # it is tried again, and what is unfinished is not taken for finished
        with pytest.raises(LeftOutError, match=reason):
            python(tmp_path / "environment", run)


def test_the_environment_is_made_once_and_sees_the_packages_of_the_bench(tmp_path: Path):
    directory = tmp_path / "environment"
    run = Commands(tmp_path / "site")

    def make_directory(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        directory.mkdir(exist_ok=True)
        return run(command)

    assert python(directory, make_directory) == directory / "bin" / "python"
    assert "interp-engine[server]==1.14.2" in run.ran[-1]
    (linked,) = (tmp_path / "site").glob("*.pth")
    assert str(Path(torch.__file__).parents[1]) == linked.read_text().strip()
    count = len(run.ran)
    assert python(directory, make_directory) == directory / "bin" / "python"
    assert len(run.ran) == count


def test_its_process_has_the_threads_of_the_other_side_and_asks_for_no_token(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("INTERP_ENGINE_SERVER_TOKEN", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    made = settings(3)
    assert made["OMP_NUM_THREADS"] == "3"
    assert int(made["GOMP_SPINCOUNT"]) > 0
    assert "INTERP_ENGINE_SERVER_TOKEN" not in made


def test_the_server_is_told_where_to_listen_and_in_what_to_compute():
    command = command_line(Path("python"), Path("model"), "127.0.0.1:81", torch.float32)
    words = [str(word) for word in command]
    assert words[:3] == ["python", "-m", "interp_engine.server"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--model"] == "model"
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "81")
    assert (given["--device"], given["--dtype"]) == ("cpu", "float32")


def test_a_program_that_ends_before_it_is_ready_says_why():
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    starts = answering(command, "127.0.0.1:1", lambda: False, environment())
    with pytest.raises(RuntimeError, match="did not start: no such model"), starts:
        pass


def test_a_program_is_given_once_it_is_ready_and_ends_by_the_signal():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    asked: list[bool] = []

    def ready() -> bool:
        asked.append(True)
        return len(asked) == 3

    with answering(command, "127.0.0.1:1", ready, environment()) as server:
        assert server.address == "127.0.0.1:1"
        assert Path(f"/proc/{server.pid}").exists()
    assert not Path(f"/proc/{server.pid}").exists()


def test_a_rate_counts_the_runs_of_all_clients_after_the_first_of_each():
    now = 0.0
    lock = threading.Lock()
    runs = [0, 0]

    def client(number: int) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            with lock:
                runs[number] += 1
                if runs[number] > 1:  # the first is not counted
                    now += 0.5

        return run

    found = rate([client(0), client(1)], 2.0, lambda: now)
    counted = sum(runs) - 2
    assert counted >= 4
    assert found == pytest.approx(counted / (0.5 * counted))


def test_a_client_that_fails_ends_the_measurement():
    def fails() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        rate([lambda: None, fails], 0.0)
