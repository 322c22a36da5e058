"""Where a daemon's time goes: `python -m bench.profile`, with Linux's `perf` on the path.

Samples the daemon's threads while clients keep it busy, and counts each sample for what its
function does. On `mid`, in float32:

- prompt: one prompt of 16 tokens after another, all layers, no logits;
- batch: 32 clients with prompts of 32 tokens, all layers;
- logits: one prompt of 32 tokens after another, all logits;
- everything: every hook point of a prompt of 128 tokens.
"""

from __future__ import annotations

import collections
import concurrent.futures
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import hookwire
from hookwire.errors import ResultSizeWarning

from bench.checkpoints import MID
from bench.daemon import daemon

SECONDS = 15.0
THREADS = 2
# The first that a sample's "library function" matches.
KINDS = (
    ("matrix products", r"(Lanes|Pairs)(256|512)|mkl|gemm|dnnl|xbyak|jit_"),
    ("attention", r"flash_attention|softmax|sdp"),
    ("threads that wait for each other", r"libgomp|gomp_|libiomp|kmp_"),
    ("norms, rotary, gelu, adding", r"hookwire::model|at::native|at::vec|c10::|Sleef|tanh|vml"),
    ("copies", r"memcpy|memmove|memset|copy_user|rep_movs"),
    ("the system: pages, sockets, scheduling", r"\[kernel|\[k\]|\[unknown\]"),
    (
        "planning, scheduling, sending",
        r"hookwire|grpc|protobuf|absl|upb|libc\.so|libstdc|libpthread",
    ),
    ("the rest of libtorch", r"libtorch|libc10"),
)


def classify(library: str, function: str) -> str:
    """What a function of a library does: one of `KINDS`."""
    text = f"{library} {function}"
    for kind, pattern in KINDS:
        if re.search(pattern, text):
            return kind
    return "other"


def sample(pid: int, busy: Callable[[], object]) -> collections.Counter[str]:
    """Counts samples by kind while `busy` is called over and over."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            busy()

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(1)  # warm
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "perf.data"
        subprocess.run(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-o", str(data),
             "-p", str(pid), "--", "sleep", str(SECONDS)],
            check=True, capture_output=True,
        )  # fmt: skip
        stop.set()
        worker.join()
        report = subprocess.run(
            ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-F",
             "sample,dso,symbol", "-t", "\t", "-q"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    counts: collections.Counter[str] = collections.Counter()
    for line in report.splitlines():
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3 and fields[0].isdigit():
            counts[classify(fields[1], fields[2])] += int(fields[0])
    return counts


def workloads(model: hookwire.RemoteModel, address: str) -> dict[str, Callable[[], object]]:
    """What keeps the daemon busy, by name."""
    last = f"blocks.{MID.n_layers - 1}.hook_out"
    prompt, long_prompt = MID.prompt(16), MID.prompt(128)

    def clients() -> None:
        def ask(number: int) -> None:
            with hookwire.connect(address, quiet=True) as own:
                for round_ in range(8):
                    tokens = MID.prompt(32, 100 * number + round_)
                    own.run_with_cache(tokens, names_filter=last, return_type=None)

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(ask, range(32)))

    return {
        "prompt": lambda: model.run_with_cache(prompt, names_filter=last, return_type=None),
        "batch": clients,
        "logits": lambda: model(MID.prompt(32)),
        "everything": lambda: model.run_with_cache(long_prompt, names_filter=None),
    }


def main() -> None:
    """Prints the table of `docs/performance.md`."""
    warnings.simplefilter("ignore", ResultSizeWarning)
    if shutil.which("perf") is None:
        sys.exit("bench.profile needs Linux's perf on the path")
    kinds = [*(kind for kind, _ in KINDS), "other"]
    columns = {}
    with daemon(MID.directory(), THREADS) as served:
        address = served.server.address
        for name, busy in workloads(served.model, address).items():
            print(f"{name} …", file=sys.stderr, flush=True)
            columns[name] = sample(served.server.pid, busy)
    print("| of the daemon's samples, % | " + " | ".join(columns) + " |")
    print("| :-- |" + " --: |" * len(columns))
    for kind in kinds:
        shares = [100 * counts[kind] / max(1, counts.total()) for counts in columns.values()]
        if any(shares):
            print(f"| {kind} | " + " | ".join(f"{share:.1f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
