"""A server that keeps the wire's contract, in Python, over `fake_model`. Faults on request."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import ml_dtypes
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from hookwire._proto import model_pb2, run_pb2, service_pb2
from hookwire._proto import tensor_pb2 as pb
from hookwire.facts.catalogue import glob_pattern

from tests.client import fake_model as fm

NUMPY = {
    pb.DTYPE_FLOAT32: np.dtype(np.float32),
    pb.DTYPE_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    pb.DTYPE_FLOAT16: np.dtype(np.float16),
    pb.DTYPE_FLOAT64: np.dtype(np.float64),
    pb.DTYPE_INT64: np.dtype(np.int64),
}
CODES = {
    "HOOK_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "HOOK_ABSENT": grpc.StatusCode.NOT_FOUND,
    "GLOB_NO_MATCH": grpc.StatusCode.NOT_FOUND,
    "RESULT_TOO_LARGE": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NO_TOKENIZER": grpc.StatusCode.NOT_FOUND,
    "LOAD_CHANGED": grpc.StatusCode.FAILED_PRECONDITION,
}


class Refused(Exception):  # noqa: N818 - it is how the fake says no
    def __init__(self, reason: str, message: str, field: str = "", **metadata: object) -> None:
        super().__init__(message)
        self.reason, self.message, self.field = reason, message, field
        self.metadata = {key: str(value) for key, value in metadata.items()}


def indices(selection: pb.Selection, size: int, reason: str) -> list[int]:
    kind = selection.WhichOneof("kind")
    if kind is None:
        return list(range(size))
    if kind == "indices":
        chosen = list(selection.indices.values)
        if any(not -size <= x < size for x in chosen):
            raise Refused(reason, f"{chosen} is outside {size}")
        chosen = [x % size for x in chosen]
    else:
        span = selection.range
        for bound in (span.start, span.stop):
            if not -size <= bound <= size:
                raise Refused(reason, f"{bound} is outside {size}")
        stop = span.stop if span.HasField("stop") else None
        chosen = list(range(size)[slice(span.start, stop, span.step or 1)])
    if not chosen or len(set(chosen)) != len(chosen):
        raise Refused("BAD_SELECTION", f"{chosen} selects nothing or something twice")
    return chosen


class Asked:
    """What one capture or intervention selects."""

    def __init__(self, message: Any, lengths: list[int]) -> None:
        self.message = message
        self.lengths = lengths
        self.rows = list(message.sequences) or list(range(len(lengths)))
        if any(row >= len(lengths) for row in self.rows):
            raise Refused("SEQUENCE_OUT_OF_RANGE", "no such sequence")

    def index(self, hook: fm.Hook, row: int) -> tuple[Any, ...]:
        """For np.ix_: the selected indices along each axis."""
        kinds = [kind for _, kind, _ in hook.axes]
        if self.message.HasField("heads") and fm.HEAD not in kinds:
            raise Refused("NO_HEADS", f"{hook.name} has no heads", hook=hook.name)
        chosen = []
        for at, (_, kind, size) in enumerate(hook.axes):
            last = at == len(hook.axes) - 1
            size = size or self.lengths[row]
            if kind == fm.POSITION:
                chosen.append(indices(self.message.positions, size, "POSITION_OUT_OF_RANGE"))
            elif kind == fm.HEAD:
                chosen.append(indices(self.message.heads, size, "HEAD_OUT_OF_RANGE"))
            elif last:
                chosen.append(indices(self.message.features, size, "FEATURE_OUT_OF_RANGE"))
            else:
                chosen.append(list(range(size)))
        return np.ix_(*chosen)


def find(name: str) -> list[str]:
    """The names that a name or glob means."""
    if "*" in name:
        found = [n for n in fm.BY_NAME if glob_pattern(name).fullmatch(n)]
        if not found:
            raise Refused("GLOB_NO_MATCH", f"{name} matches nothing", hook=name, suggestion="**")
        return found
    if name in fm.ABSENT:
        raise Refused("HOOK_ABSENT", f"{name} does not exist: {fm.ABSENT[name]}", hook=name)
    if name not in fm.BY_NAME:
        raise Refused(
            "HOOK_NOT_FOUND",
            f"there is no {name}",
            "spec.captures[0].hook",
            hook=name,
            suggestion="hook_embed",
        )
    canonical = fm.BY_NAME[name].name
    return list(dict.fromkeys([canonical, name]))


class Planned:
    """A run, checked: groups, and what has to happen at each hook point."""

    def __init__(self, spec: run_pb2.RunSpec) -> None:
        self.spec = spec
        self.tokens = [list(sequence.token_ids) for sequence in spec.sequences]
        self.lengths = list(map(len, self.tokens))
        self._check_tokens()
        self.stop = spec.stop_at_layer if spec.HasField("stop_at_layer") else None
        if self.stop is not None and self.stop > fm.N_LAYERS:
            raise Refused("STOP_OUT_OF_RANGE", "no such layer")
        self.skipped: list[str] = []
        self.wanted: dict[tuple[str, bytes], dict[str, Any]] = {}
        for number, capture in enumerate(spec.captures):
            self._add_capture(number, capture)
        self.changes: dict[str, list[tuple[Asked, run_pb2.Intervention]]] = {}
        for item in spec.interventions:
            self._add_change(item)
        self.plan = self._plan()

    def _check_tokens(self) -> None:
        if not self.tokens:
            raise Refused("NO_SEQUENCES", "no sequences")
        for tokens in self.tokens:
            if not tokens:
                raise Refused("SEQUENCE_EMPTY", "an empty sequence")
            if len(tokens) > fm.N_CTX:
                raise Refused("SEQUENCE_TOO_LONG", "too long", tokens=len(tokens), limit=fm.N_CTX)
            if max(tokens) >= fm.D_VOCAB:
                raise Refused("TOKEN_OUT_OF_RANGE", f"{max(tokens)} is no token")

    def _fires(self, hook: fm.Hook) -> bool:
        if self.stop is None:
            return True
        if hook.layer is not None:
            return hook.layer < self.stop
        return hook.name.startswith("embed")

    def _add_capture(self, number: int, capture: run_pb2.Capture) -> None:
        try:
            names = find(capture.hook)
        except Refused as refused:
            if capture.missing != run_pb2.MISSING_SKIP or refused.reason != "HOOK_ABSENT":
                raise
            self.skipped.append(capture.hook)
            return
        asked = Asked(capture, self.lengths)
        selection = b"".join(
            part.SerializeToString(deterministic=True) + b"|"
            for part in (capture.positions, capture.heads, capture.features)
        ) + bytes(asked.rows)
        for name in names:
            hook = fm.BY_NAME[name]
            if not self._fires(hook):
                if "*" in capture.hook and any(self._fires(fm.BY_NAME[n]) for n in names):
                    continue
                raise Refused("NEVER_FIRES", f"{name} lies behind the end", hook=name)
            entry = self.wanted.setdefault(
                (hook.name, selection),
                {"hook": hook, "asked": asked, "names": [], "captures": [], "dtype": capture.dtype},
            )
            if name not in entry["names"]:
                entry["names"].append(name)
            if number not in entry["captures"]:
                entry["captures"].append(number)

    def _add_change(self, item: run_pb2.Intervention) -> None:
        asked = Asked(item, self.lengths)
        for name in dict.fromkeys(fm.BY_NAME[name].name for name in find(item.hook)):
            hook = fm.BY_NAME[name]
            if not hook.writable:
                raise Refused("HOOK_READ_ONLY", f"{name} can only be read", hook=name)
            if not self._fires(hook):
                raise Refused("NEVER_FIRES", f"{name} lies behind the end", hook=name)
            for row in asked.rows:
                self._check_value(item, hook, asked.index(hook, row))
            self.changes.setdefault(name, []).append((asked, item))

    def _check_value(self, item: run_pb2.Intervention, hook: fm.Hook, index: Any) -> None:
        if item.WhichOneof("op") is None:
            raise Refused("BAD_FIELD", "an op must be set")
        value = value_of(item)
        if value is None:
            return
        target = tuple(part.size for part in index)
        try:
            fits = np.broadcast_shapes(value.shape, target) == target
        except ValueError:
            fits = False
        if not fits:
            raise Refused(
                "VALUE_SHAPE", f"{value.shape} does not fit", expected=target, got=value.shape
            )
        if not np.isfinite(value.astype(np.float64)).all() and not self.spec.allow_non_finite:
            raise Refused("VALUE_NOT_FINITE", "not finite", hook=hook.name)

    def _plan(self) -> run_pb2.Plan:
        order = [hook.name for hook in fm.HOOKS]
        entries = sorted(self.wanted.values(), key=lambda entry: order.index(entry["hook"].name))
        plan = run_pb2.Plan(
            total_tokens=sum(self.lengths),
            n_layers_run=fm.N_LAYERS if self.stop is None else self.stop,
            skipped=self.skipped,
            intervened_hooks=sorted(self.changes, key=order.index),
        )
        self.tensors: list[tuple[str, Any]] = []
        for entry in entries:
            hook, asked = entry["hook"], entry["asked"]
            group = plan.groups.add(
                source=run_pb2.TensorGroup.SOURCE_CAPTURE,
                hook=hook.name,
                names=entry["names"],
                captures=entry["captures"],
                dtype=entry["dtype"] or hook.dtype,
                axes=[pb.Axis(name=n, kind=k, size=s) for n, k, s in hook.axes],
            )
            for row in asked.rows:
                shape = [part.size for part in asked.index(hook, row)]
                group.tensors.add(sequence=row, shape=shape)
                self.tensors.append((hook.name, (entry, row)))
        self._plan_outputs(plan)
        for group in plan.groups:
            size = NUMPY[group.dtype].itemsize
            plan.total_bytes += sum(size * int(np.prod(t.shape)) for t in group.tensors)
        if self.spec.max_result_bytes and plan.total_bytes > self.spec.max_result_bytes:
            raise Refused(
                "RESULT_TOO_LARGE",
                f"{plan.total_bytes} bytes",
                bytes=plan.total_bytes,
                limit=self.spec.max_result_bytes,
            )
        return plan

    def _plan_outputs(self, plan: run_pb2.Plan) -> None:
        outputs = self.spec.outputs
        group_type = run_pb2.TensorGroup
        if outputs.residual:
            self._output(
                plan,
                group_type.SOURCE_RESIDUAL,
                pb.DTYPE_FLOAT32,
                fm.STREAM,
                [[n, fm.D_MODEL] for n in self.lengths],
            )
        if (outputs.HasField("logits") or outputs.HasField("log_probs")) and self.stop is not None:
            raise Refused("NEVER_FIRES", "logits lie behind the end", hook="logits")
        if outputs.HasField("logits"):
            self.logit_positions = [
                indices(outputs.logits.positions, n, "POSITION_OUT_OF_RANGE") for n in self.lengths
            ]
            shapes = [[len(p), fm.D_VOCAB] for p in self.logit_positions]
            self._output(plan, group_type.SOURCE_LOGITS, pb.DTYPE_FLOAT32, fm.LOGITS, shapes)
        if outputs.HasField("log_probs"):
            targets = outputs.log_probs.targets
            counts = [len(t.token_ids) for t in targets] or [n - 1 for n in self.lengths]
            self._output(
                plan,
                group_type.SOURCE_LOG_PROBS,
                pb.DTYPE_FLOAT32,
                (fm.POS,),
                [[n] for n in counts],
            )

    def _output(
        self, plan: run_pb2.Plan, source: int, dtype: int, axes: fm.Axes, shapes: list[list[int]]
    ) -> None:
        group = plan.groups.add(
            source=source,
            dtype=dtype,
            axes=[pb.Axis(name=n, kind=k, size=s) for n, k, s in axes],
        )
        for row, shape in enumerate(shapes):
            group.tensors.add(sequence=row, shape=shape)
            self.tensors.append((group_name(source), row))


def group_name(source: int) -> str:
    return run_pb2.TensorGroup.Source.Name(source)


def value_of(item: run_pb2.Intervention) -> np.ndarray | None:
    op = item.WhichOneof("op")
    if op not in ("set", "add", "scale"):
        return None
    value = item.scale.factor if op == "scale" else getattr(item, op).value
    if value.WhichOneof("kind") == "scalar":
        return np.array(value.scalar)
    return np.frombuffer(value.tensor.data, NUMPY[value.tensor.dtype]).reshape(
        tuple(value.tensor.shape)
    )


def change(
    asked: Asked, item: run_pb2.Intervention, hook: fm.Hook, tensors: list[np.ndarray]
) -> None:
    for row in asked.rows:
        index = asked.index(hook, row)
        op, value = item.WhichOneof("op"), value_of(item)
        tensor = tensors[row]
        if op == "set":
            tensor[index] = value
        elif op == "add":
            tensor[index] = tensor[index] + value.astype(tensor.dtype)
        elif op == "scale":
            tensor[index] = tensor[index] * value.astype(tensor.dtype)
        elif op == "zero":
            tensor[index] = 0
        else:
            source = item.copy.from_sequence
            part = tensors[source][asked.index(hook, source)]
            if part.shape != tensor[index].shape:
                raise Refused("VALUE_SHAPE", "sequences of different lengths", expected="", got="")
            tensor[index] = part


def run(planned: Planned) -> Iterator[tuple[int, np.ndarray]]:
    """Tensors by their number in the plan, in the order of the pass."""
    made: list[tuple[str, Any, np.ndarray]] = []

    def tap(name: str, tensors: list[np.ndarray]) -> list[np.ndarray]:
        before = tensors
        tensors = [np.array(tensor) for tensor in tensors]
        for asked, item in planned.changes.get(name, []):
            change(asked, item, fm.BY_NAME[name], tensors)
        for number, (owner, what) in enumerate(planned.tensors):
            if owner == name:
                entry, row = what
                dtype = NUMPY[entry["dtype"] or entry["hook"].dtype]
                index = entry["asked"].index(entry["hook"], row)
                early = entry["asked"].message.moment == run_pb2.MOMENT_BEFORE
                seen = before if early else tensors
                made.append((name, number, seen[row][index].astype(dtype)))
        return tensors

    last = fm.forward([np.array(tokens) for tokens in planned.tokens], tap, planned.stop)
    for _, number, tensor in made:
        yield number, tensor
    for number, (owner, row) in enumerate(planned.tensors):
        if owner == "SOURCE_RESIDUAL":
            yield number, last[row]
        elif owner == "SOURCE_LOGITS":
            yield number, last[row][planned.logit_positions[row]]
        elif owner == "SOURCE_LOG_PROBS":
            yield number, log_probs(planned, row, last[row])


def log_probs(planned: Planned, row: int, logits: np.ndarray) -> np.ndarray:
    table = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    targets = planned.spec.outputs.log_probs.targets
    if targets:
        return table[list(targets[row].positions), list(targets[row].token_ids)].astype(np.float32)
    tokens = planned.tokens[row]
    return table[np.arange(len(tokens) - 1), tokens[1:]].astype(np.float32)


class FakeServer:
    """Serves until `stop`. Attributes may be changed between calls.

    faults: any of "no receipt", "short file", "lost chunk", "lost tensor", "wrong offset",
        "wrong receipt", "wrong total", "silent row", "stall" (waits after each tensor until `go` is
        set), "status" (ends with an error), "interleave" (pieces of all tensors by turns).
    """

    def __init__(
        self,
        files: dict[str, bytes] | None = None,
        dtype: int = pb.DTYPE_FLOAT32,
        listen: str = "127.0.0.1:0",
    ) -> None:
        # Empty: a server that is older than loads.
        self.load_id = uuid.uuid4().hex
        self.name = "fake"
        self.digest = "sha256:0"
        # What answers in place of a method, by its name.
        self._answers: dict[str, Any] = {}
        # Names that its ListHooks leaves out.
        self.lacks: set[str] = set()
        self.files = files
        self.dtype = dtype
        self.faults: set[str] = set()
        self.chunk_bytes = 1 << 20
        self.refusal: Refused | None = None
        self.non_finite: list[run_pb2.NonFinite] = []
        self.go = threading.Event()
        self.cancelled = threading.Event()
        self.specs: list[run_pb2.RunSpec] = []
        self.calls: list[str] = []
        # The load that each call expects, but for GetModel, which tells it.
        self.expected: list[str] = []
        self.max_request_bytes = 4 << 20
        self.inflate = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        port = self._server.add_insecure_port(listen)
        self.address = listen if listen.startswith("unix:") else f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        self.go.set()
        self._server.stop(None).wait()

    def _handlers(self) -> grpc.GenericRpcHandler:
        s = service_pb2
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {
            "GetModel": unary(self._wrap(self.get_model), s.GetModelRequest.FromString, _encode),
            "ListHooks": unary(self._wrap(self.list_hooks), s.ListHooksRequest.FromString, _encode),
            "GetTokenizer": stream(
                self._wrap_stream(self.get_tokenizer), s.GetTokenizerRequest.FromString, _encode
            ),
            "GetWeight": stream(
                self._wrap_stream(self.get_weight), s.GetWeightRequest.FromString, _encode
            ),
            "Plan": unary(self._wrap(self.plan), s.PlanRequest.FromString, _encode),
            "Run": stream(self._wrap_stream(self.run), s.RunRequest.FromString, _encode),
        }
        return grpc.method_handlers_generic_handler("hookwire.v1.ActivationService", methods)

    def _wrap(self, method: Any) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(method.__name__)
            try:
                self._check_load(request)
                return self._answers.get(method.__name__, method)(request)
            except Refused as refused:
                self._abort(refused, context)

        return call

    def _wrap_stream(self, method: Any) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(method.__name__)
            if method.__name__ == "run":
                context.add_callback(self.cancelled.set)
            try:
                self._check_load(request)
                yield from self._answers.get(method.__name__, method)(request)
            except Refused as refused:
                self._abort(refused, context)

        return call

    def _check_load(self, request: Any) -> None:
        asked = getattr(request, "spec", request)
        if isinstance(asked, service_pb2.GetModelRequest):
            return
        expected = asked.load_id
        self.expected.append(expected)
        if expected and expected != self.load_id:
            raise Refused(
                "LOAD_CHANGED",
                "another load",
                expected=expected,
                loaded=self.load_id,
                model=self.name,
            )

    def _abort(self, refused: Refused, context: grpc.ServicerContext) -> None:
        code = CODES.get(refused.reason, grpc.StatusCode.INVALID_ARGUMENT)
        status = status_pb2.Status(code=code.value[0], message=refused.message)
        info = error_details_pb2.ErrorInfo(
            reason=refused.reason, domain="hookwire", metadata=refused.metadata
        )
        status.details.add().Pack(info)
        if refused.field:
            blame = error_details_pb2.BadRequest()
            blame.field_violations.add(field=refused.field)
            status.details.add().Pack(blame)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, refused.message)

    def get_model(self, _: Any) -> service_pb2.GetModelResponse:
        layer = model_pb2.Layer(
            attention_type=model_pb2.ATTENTION_TYPE_SLIDING,
            n_heads=fm.N_HEADS,
            n_key_value_heads=1,
            d_head=fm.D_HEAD,
            d_mlp=fm.D_MLP,
            layer_scalar=0.5,
        )
        shared = model_pb2.Layer()
        shared.CopyFrom(layer)
        shared.key_value_source = 1
        shared.attention_type = model_pb2.ATTENTION_TYPE_FULL
        model = model_pb2.Model(
            name=self.name,
            architecture="Fake",
            variant="E",
            n_layers=fm.N_LAYERS,
            d_model=fm.D_MODEL,
            n_heads=fm.N_HEADS,
            n_key_value_heads=1,
            d_head=fm.D_HEAD,
            d_mlp=fm.D_MLP,
            d_vocab=fm.D_VOCAB,
            n_ctx=fm.N_CTX,
            eps=1e-6,
            act_fn="gelu_pytorch_tanh",
            sliding_window=8,
            final_logit_softcap=30,
            layers=[layer, layer, shared],
            bos_token_id=2,
            eos_token_ids=[1],
            pad_token_id=0,
            n_params=123,
            weights_digest=self.digest,
        )
        server = model_pb2.Server(
            build="fake 1",
            device="cpu",
            dtype=self.dtype,
            numerics=model_pb2.NUMERICS_REFERENCE,
            threads=1,
            max_request_bytes=self.max_request_bytes,
            capabilities=["run", "plan"],
            load_id=self.load_id,
        )
        return service_pb2.GetModelResponse(model=model, server=server)

    def list_hooks(self, _: Any) -> service_pb2.ListHooksResponse:
        hooks = [point for point in fm.catalogue() if point.name not in self.lacks]
        return service_pb2.ListHooksResponse(hooks=hooks)

    def get_tokenizer(self, _: Any) -> Iterator[service_pb2.GetTokenizerResponse]:
        if not self.files:
            raise Refused("NO_TOKENIZER", "the checkpoint has no tokenizer")
        for name, content in self.files.items():
            for at in range(0, max(len(content), 1), 100):
                if "short file" in self.faults and at:
                    break
                yield service_pb2.GetTokenizerResponse(
                    name=name, size=len(content), data=content[at : at + 100]
                )

    def get_weight(
        self, request: service_pb2.GetWeightRequest
    ) -> Iterator[service_pb2.GetWeightResponse]:
        table = fm.EMBED if request.name == "embed.weight" else fm.UNEMBED.T
        if request.HasField("rows"):
            table = table[list(request.rows.indices.values)]
        data = np.ascontiguousarray(table).tobytes()
        header = service_pb2.WeightHeader(
            name=request.name, dtype=pb.DTYPE_FLOAT32, shape=table.shape, bytes=len(data)
        )
        yield service_pb2.GetWeightResponse(header=header, data=data)

    def plan(self, request: service_pb2.PlanRequest) -> service_pb2.PlanResponse:
        self.specs.append(request.spec)
        return service_pb2.PlanResponse(plan=Planned(request.spec).plan)

    def run(self, request: service_pb2.RunRequest) -> Iterator[service_pb2.RunResponse]:
        self.specs.append(request.spec)
        if self.refusal is not None:
            raise self.refusal
        planned = Planned(request.spec)
        plan = planned.plan
        if "wrong total" in self.faults:
            plan.total_bytes += 1
        if "silent row" in self.faults:
            last = plan.groups[-1].tensors.pop()
            plan.total_bytes -= 4 * int(np.prod(last.shape))
        accepted = service_pb2.Accepted(run_id="run-1", plan=plan)
        yield service_pb2.RunResponse(accepted=accepted)
        yield service_pb2.RunResponse(progress=service_pb2.Progress(layers_done=1))
        sent = 0
        for chunks in self._messages(planned):
            response = service_pb2.RunResponse()
            for number, offset, data in chunks:
                response.tensors.chunks.add(tensor=number, offset=offset, data=data)
                sent += len(data)
            yield response
            if "stall" in self.faults:
                self.go.wait(20)
        if "no receipt" in self.faults:
            return
        if "status" in self.faults:
            raise Refused("INTERNAL", "it broke")
        receipt = run_pb2.Receipt(
            run_id="run-1",
            weights_digest="sha256:0",
            build="fake 1",
            device="cpu",
            dtype=self.dtype,
            numerics=model_pb2.NUMERICS_REFERENCE,
            threads=1,
            batch_sequences=len(planned.tokens),
            tensors=len(planned.tensors),
            bytes=sent + ("wrong receipt" in self.faults),
            n_layers_run=plan.n_layers_run,
            non_finite=self.non_finite,
        )
        yield service_pb2.RunResponse(receipt=receipt)

    def _messages(self, planned: Planned) -> Iterator[list[tuple[int, int, bytes]]]:
        pieces = []
        for number, tensor in run(planned):
            data = np.ascontiguousarray(tensor).tobytes()
            offsets = range(0, len(data), self.chunk_bytes) if data else ()
            pieces.append([(number, at, data[at : at + self.chunk_bytes]) for at in offsets])
        if "lost tensor" in self.faults:
            pieces.pop()
        if "lost chunk" in self.faults:
            pieces[-1].pop()
        if "wrong offset" in self.faults:
            number, at, data = pieces[0][0]
            pieces[0][0] = (number, at + 1, data)
        if "interleave" in self.faults:
            while any(pieces):
                yield [part.pop(0) for part in pieces if part]
            return
        for part in pieces:
            for piece in part:
                yield [piece]


def _encode(message: Any) -> bytes:
    return message.SerializeToString()
