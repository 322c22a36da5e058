"""The server that one would write by hand: Transformers behind gRPC, one run at a time.

    python -m bench.python_server CHECKPOINT THREADS [DTYPE]

`/hookwire.bench.Python/Run` takes JSON: "tokens", one prompt; "layer", whose output to return;
"logits", whether to return those of the last position; "stop", whether the pass may end at the
hook where no logits are wanted. It answers with safetensors: "hook" [pos, d_model] and "logits"
[d_vocab]. Prints one line with its address; SIGTERM ends it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import torch
from safetensors.torch import save
from torch import Tensor
from transformers import AutoModelForImageTextToText

SERVICE, METHOD = "hookwire.bench.Python", "Run"
# More than there will be clients: each has a run that computes or waits.
_WORKERS = 128


class _ReachedError(Exception):
    """The hook has what it wanted."""


class Runner:
    """One model, one run at a time. Thread-safe.

    Args:
        checkpoint: its directory.
        dtype: to compute in.
    """

    def __init__(self, checkpoint: str, dtype: torch.dtype = torch.float32) -> None:
        model: Any = AutoModelForImageTextToText.from_pretrained(
            checkpoint, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
        self._model = model.eval()
        self._layers = self._model.model.language_model.layers
        self._lock = threading.Lock()

    def __call__(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """The method."""
        asked = json.loads(request)
        tokens = torch.tensor([asked["tokens"]])
        stops = asked["stop"] and not asked["logits"]
        return save(self.run(tokens, asked["layer"], logits=asked["logits"], stops=stops))

    @torch.inference_mode()
    def run(self, tokens: Tensor, layer: int, *, logits: bool, stops: bool) -> dict[str, Tensor]:
        """What the method returns, for tokens [1, pos]."""
        seen: dict[str, Tensor] = {}

        def keep(_module: object, _inputs: object, output: Tensor) -> None:
            seen["hook"] = output[0].clone()
            if stops:
                raise _ReachedError

        with self._lock:
            handle = self._layers[layer].register_forward_hook(keep)
            try:
                if logits:
                    whole = self._model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits
                    seen["logits"] = whole[0, -1].clone()
                else:
                    self._model.model(input_ids=tokens, use_cache=False)
            except _ReachedError:
                pass
            finally:
                handle.remove()
        return seen


def main(checkpoint: str, threads: str, dtype: str = "float32") -> None:
    """Serves until SIGTERM."""
    torch.set_num_threads(int(threads))
    pool = ThreadPoolExecutor(_WORKERS)
    server = grpc.server(pool, options=[("grpc.max_send_message_length", -1)])
    handler: Any = grpc.unary_unary_rpc_method_handler(Runner(checkpoint, getattr(torch, dtype)))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server.start()
    print(f"python server ready at 127.0.0.1:{port}", flush=True)
    ended.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
