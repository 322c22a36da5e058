from . import model_pb2 as _model_pb2
from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]

class Missing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSING_UNSPECIFIED: _ClassVar[Missing]
    MISSING_ERROR: _ClassVar[Missing]
    MISSING_SKIP: _ClassVar[Missing]

class Moment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MOMENT_UNSPECIFIED: _ClassVar[Moment]
    MOMENT_AFTER: _ClassVar[Moment]
    MOMENT_BEFORE: _ClassVar[Moment]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
MISSING_UNSPECIFIED: Missing
MISSING_ERROR: Missing
MISSING_SKIP: Missing
MOMENT_UNSPECIFIED: Moment
MOMENT_AFTER: Moment
MOMENT_BEFORE: Moment

class RunSpec(_message.Message):
    __slots__ = ("sequences", "captures", "interventions", "outputs", "stop_at_layer", "allow_non_finite", "max_result_bytes", "max_message_bytes", "priority", "shared_memory_token", "load_id", "join_tensors")
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    CAPTURES_FIELD_NUMBER: _ClassVar[int]
    INTERVENTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STOP_AT_LAYER_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOAD_ID_FIELD_NUMBER: _ClassVar[int]
    JOIN_TENSORS_FIELD_NUMBER: _ClassVar[int]
    sequences: _containers.RepeatedCompositeFieldContainer[Sequence]
    captures: _containers.RepeatedCompositeFieldContainer[Capture]
    interventions: _containers.RepeatedCompositeFieldContainer[Intervention]
    outputs: Outputs
    stop_at_layer: int
    allow_non_finite: bool
    max_result_bytes: int
    max_message_bytes: int
    priority: Priority
    shared_memory_token: bytes
    load_id: str
    join_tensors: bool
    def __init__(self, sequences: _Optional[_Iterable[_Union[Sequence, _Mapping]]] = ..., captures: _Optional[_Iterable[_Union[Capture, _Mapping]]] = ..., interventions: _Optional[_Iterable[_Union[Intervention, _Mapping]]] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., stop_at_layer: _Optional[int] = ..., allow_non_finite: bool = ..., max_result_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., shared_memory_token: _Optional[bytes] = ..., load_id: _Optional[str] = ..., join_tensors: bool = ...) -> None: ...

class Sequence(_message.Message):
    __slots__ = ("token_ids",)
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Capture(_message.Message):
    __slots__ = ("hook", "sequences", "positions", "heads", "features", "dtype", "moment", "missing")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    hook: str
    sequences: _containers.RepeatedScalarFieldContainer[int]
    positions: _tensor_pb2.Selection
    heads: _tensor_pb2.Selection
    features: _tensor_pb2.Selection
    dtype: _tensor_pb2.Dtype
    moment: Moment
    missing: Missing
    def __init__(self, hook: _Optional[str] = ..., sequences: _Optional[_Iterable[int]] = ..., positions: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., heads: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., features: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., moment: _Optional[_Union[Moment, str]] = ..., missing: _Optional[_Union[Missing, str]] = ...) -> None: ...

class Intervention(_message.Message):
    __slots__ = ("hook", "sequences", "positions", "heads", "features", "set", "add", "scale", "zero", "copy", "callback")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ZERO_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    hook: str
    sequences: _containers.RepeatedScalarFieldContainer[int]
    positions: _tensor_pb2.Selection
    heads: _tensor_pb2.Selection
    features: _tensor_pb2.Selection
    set: SetOp
    add: AddOp
    scale: ScaleOp
    zero: ZeroOp
    copy: CopyOp
    callback: CallbackOp
    def __init__(self, hook: _Optional[str] = ..., sequences: _Optional[_Iterable[int]] = ..., positions: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., heads: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., features: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., set: _Optional[_Union[SetOp, _Mapping]] = ..., add: _Optional[_Union[AddOp, _Mapping]] = ..., scale: _Optional[_Union[ScaleOp, _Mapping]] = ..., zero: _Optional[_Union[ZeroOp, _Mapping]] = ..., copy: _Optional[_Union[CopyOp, _Mapping]] = ..., callback: _Optional[_Union[CallbackOp, _Mapping]] = ...) -> None: ...

class SetOp(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _tensor_pb2.Value
    def __init__(self, value: _Optional[_Union[_tensor_pb2.Value, _Mapping]] = ...) -> None: ...

class AddOp(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _tensor_pb2.Value
    def __init__(self, value: _Optional[_Union[_tensor_pb2.Value, _Mapping]] = ...) -> None: ...

class ScaleOp(_message.Message):
    __slots__ = ("factor",)
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    factor: _tensor_pb2.Value
    def __init__(self, factor: _Optional[_Union[_tensor_pb2.Value, _Mapping]] = ...) -> None: ...

class ZeroOp(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CopyOp(_message.Message):
    __slots__ = ("from_sequence",)
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    from_sequence: int
    def __init__(self, from_sequence: _Optional[int] = ...) -> None: ...

class CallbackOp(_message.Message):
    __slots__ = ("read_only",)
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    read_only: bool
    def __init__(self, read_only: bool = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("logits", "log_probs", "residual")
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBS_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    logits: LogitsOutput
    log_probs: LogProbsOutput
    residual: bool
    def __init__(self, logits: _Optional[_Union[LogitsOutput, _Mapping]] = ..., log_probs: _Optional[_Union[LogProbsOutput, _Mapping]] = ..., residual: bool = ...) -> None: ...

class LogitsOutput(_message.Message):
    __slots__ = ("positions", "dtype")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    positions: _tensor_pb2.Selection
    dtype: _tensor_pb2.Dtype
    def __init__(self, positions: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ...) -> None: ...

class LogProbsOutput(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Targets]
    def __init__(self, targets: _Optional[_Iterable[_Union[Targets, _Mapping]]] = ...) -> None: ...

class Targets(_message.Message):
    __slots__ = ("positions", "token_ids")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, positions: _Optional[_Iterable[int]] = ..., token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("groups", "total_bytes", "total_tokens", "n_layers_run", "skipped", "intervened_hooks")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    N_LAYERS_RUN_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    INTERVENED_HOOKS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[TensorGroup]
    total_bytes: int
    total_tokens: int
    n_layers_run: int
    skipped: _containers.RepeatedScalarFieldContainer[str]
    intervened_hooks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, groups: _Optional[_Iterable[_Union[TensorGroup, _Mapping]]] = ..., total_bytes: _Optional[int] = ..., total_tokens: _Optional[int] = ..., n_layers_run: _Optional[int] = ..., skipped: _Optional[_Iterable[str]] = ..., intervened_hooks: _Optional[_Iterable[str]] = ...) -> None: ...

class TensorGroup(_message.Message):
    __slots__ = ("source", "hook", "names", "captures", "dtype", "axes", "tensors", "intervention")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOURCE_UNSPECIFIED: _ClassVar[TensorGroup.Source]
        SOURCE_CAPTURE: _ClassVar[TensorGroup.Source]
        SOURCE_LOGITS: _ClassVar[TensorGroup.Source]
        SOURCE_LOG_PROBS: _ClassVar[TensorGroup.Source]
        SOURCE_RESIDUAL: _ClassVar[TensorGroup.Source]
        SOURCE_CALLBACK: _ClassVar[TensorGroup.Source]
    SOURCE_UNSPECIFIED: TensorGroup.Source
    SOURCE_CAPTURE: TensorGroup.Source
    SOURCE_LOGITS: TensorGroup.Source
    SOURCE_LOG_PROBS: TensorGroup.Source
    SOURCE_RESIDUAL: TensorGroup.Source
    SOURCE_CALLBACK: TensorGroup.Source
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CAPTURES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    INTERVENTION_FIELD_NUMBER: _ClassVar[int]
    source: TensorGroup.Source
    hook: str
    names: _containers.RepeatedScalarFieldContainer[str]
    captures: _containers.RepeatedScalarFieldContainer[int]
    dtype: _tensor_pb2.Dtype
    axes: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Axis]
    tensors: _containers.RepeatedCompositeFieldContainer[PlannedTensor]
    intervention: int
    def __init__(self, source: _Optional[_Union[TensorGroup.Source, str]] = ..., hook: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., captures: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., axes: _Optional[_Iterable[_Union[_tensor_pb2.Axis, _Mapping]]] = ..., tensors: _Optional[_Iterable[_Union[PlannedTensor, _Mapping]]] = ..., intervention: _Optional[int] = ...) -> None: ...

class PlannedTensor(_message.Message):
    __slots__ = ("sequence", "shape")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("run_id", "weights_digest", "build", "device", "dtype", "numerics", "threads", "batch_sequences", "batch_tokens", "tensors", "bytes", "n_layers_run", "queue_us", "compute_us", "non_finite", "batch_runs", "stream_us", "repeats")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    N_LAYERS_RUN_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_US_FIELD_NUMBER: _ClassVar[int]
    NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    BATCH_RUNS_FIELD_NUMBER: _ClassVar[int]
    STREAM_US_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    weights_digest: str
    build: str
    device: str
    dtype: _tensor_pb2.Dtype
    numerics: _model_pb2.Numerics
    threads: int
    batch_sequences: int
    batch_tokens: int
    tensors: int
    bytes: int
    n_layers_run: int
    queue_us: int
    compute_us: int
    non_finite: _containers.RepeatedCompositeFieldContainer[NonFinite]
    batch_runs: int
    stream_us: int
    repeats: int
    def __init__(self, run_id: _Optional[str] = ..., weights_digest: _Optional[str] = ..., build: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., numerics: _Optional[_Union[_model_pb2.Numerics, str]] = ..., threads: _Optional[int] = ..., batch_sequences: _Optional[int] = ..., batch_tokens: _Optional[int] = ..., tensors: _Optional[int] = ..., bytes: _Optional[int] = ..., n_layers_run: _Optional[int] = ..., queue_us: _Optional[int] = ..., compute_us: _Optional[int] = ..., non_finite: _Optional[_Iterable[_Union[NonFinite, _Mapping]]] = ..., batch_runs: _Optional[int] = ..., stream_us: _Optional[int] = ..., repeats: _Optional[int] = ...) -> None: ...

class NonFinite(_message.Message):
    __slots__ = ("hook", "sequence", "nan", "inf")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NAN_FIELD_NUMBER: _ClassVar[int]
    INF_FIELD_NUMBER: _ClassVar[int]
    hook: str
    sequence: int
    nan: int
    inf: int
    def __init__(self, hook: _Optional[str] = ..., sequence: _Optional[int] = ..., nan: _Optional[int] = ..., inf: _Optional[int] = ...) -> None: ...
