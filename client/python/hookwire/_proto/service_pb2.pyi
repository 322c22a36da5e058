from . import model_pb2 as _model_pb2
from . import run_pb2 as _run_pb2
from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_HOOK_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_HOOK_ABSENT: _ClassVar[ErrorReason]
    ERROR_REASON_GLOB_NO_MATCH: _ClassVar[ErrorReason]
    ERROR_REASON_HOOK_READ_ONLY: _ClassVar[ErrorReason]
    ERROR_REASON_NO_SEQUENCES: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_EMPTY: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_POSITION_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_HEAD_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_NO_HEADS: _ClassVar[ErrorReason]
    ERROR_REASON_FEATURE_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_NO_SUCH_AXIS: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_SELECTION: _ClassVar[ErrorReason]
    ERROR_REASON_VALUE_SHAPE: _ClassVar[ErrorReason]
    ERROR_REASON_VALUE_DTYPE: _ClassVar[ErrorReason]
    ERROR_REASON_VALUE_NOT_FINITE: _ClassVar[ErrorReason]
    ERROR_REASON_NEVER_FIRES: _ClassVar[ErrorReason]
    ERROR_REASON_STOP_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_RESULT_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_TOKENS: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_TENSORS: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_NO_TOKENIZER: _ClassVar[ErrorReason]
    ERROR_REASON_SHUTTING_DOWN: _ClassVar[ErrorReason]
    ERROR_REASON_OUT_OF_MEMORY: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_WEIGHT_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_WEIGHT_ABSENT: _ClassVar[ErrorReason]
    ERROR_REASON_ROW_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_WEIGHTS_NOT_SERVED: _ClassVar[ErrorReason]
    ERROR_REASON_HOOK_TIMEOUT: _ClassVar[ErrorReason]
    ERROR_REASON_UNEXPECTED_MESSAGE: _ClassVar[ErrorReason]
    ERROR_REASON_READER_STALLED: _ClassVar[ErrorReason]
    ERROR_REASON_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_VALUE_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_TIMEOUT: _ClassVar[ErrorReason]
    ERROR_REASON_WEIGHTS_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_PASS_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_LOAD_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_MEMORY_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_SENDER_STALLED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_ENTRIES: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_CALLS: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_HOOK_NOT_FOUND: ErrorReason
ERROR_REASON_HOOK_ABSENT: ErrorReason
ERROR_REASON_GLOB_NO_MATCH: ErrorReason
ERROR_REASON_HOOK_READ_ONLY: ErrorReason
ERROR_REASON_NO_SEQUENCES: ErrorReason
ERROR_REASON_SEQUENCE_EMPTY: ErrorReason
ERROR_REASON_SEQUENCE_TOO_LONG: ErrorReason
ERROR_REASON_TOKEN_OUT_OF_RANGE: ErrorReason
ERROR_REASON_SEQUENCE_OUT_OF_RANGE: ErrorReason
ERROR_REASON_POSITION_OUT_OF_RANGE: ErrorReason
ERROR_REASON_HEAD_OUT_OF_RANGE: ErrorReason
ERROR_REASON_NO_HEADS: ErrorReason
ERROR_REASON_FEATURE_OUT_OF_RANGE: ErrorReason
ERROR_REASON_NO_SUCH_AXIS: ErrorReason
ERROR_REASON_BAD_SELECTION: ErrorReason
ERROR_REASON_VALUE_SHAPE: ErrorReason
ERROR_REASON_VALUE_DTYPE: ErrorReason
ERROR_REASON_VALUE_NOT_FINITE: ErrorReason
ERROR_REASON_NEVER_FIRES: ErrorReason
ERROR_REASON_STOP_OUT_OF_RANGE: ErrorReason
ERROR_REASON_RESULT_TOO_LARGE: ErrorReason
ERROR_REASON_TOO_MANY_TOKENS: ErrorReason
ERROR_REASON_TOO_MANY_TENSORS: ErrorReason
ERROR_REASON_UNKNOWN_FIELD: ErrorReason
ERROR_REASON_BAD_FIELD: ErrorReason
ERROR_REASON_MALFORMED_REQUEST: ErrorReason
ERROR_REASON_NO_TOKENIZER: ErrorReason
ERROR_REASON_SHUTTING_DOWN: ErrorReason
ERROR_REASON_OUT_OF_MEMORY: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_WEIGHT_NOT_FOUND: ErrorReason
ERROR_REASON_WEIGHT_ABSENT: ErrorReason
ERROR_REASON_ROW_OUT_OF_RANGE: ErrorReason
ERROR_REASON_WEIGHTS_NOT_SERVED: ErrorReason
ERROR_REASON_HOOK_TIMEOUT: ErrorReason
ERROR_REASON_UNEXPECTED_MESSAGE: ErrorReason
ERROR_REASON_READER_STALLED: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_VALUE_TOO_LARGE: ErrorReason
ERROR_REASON_QUEUE_TIMEOUT: ErrorReason
ERROR_REASON_WEIGHTS_CHANGED: ErrorReason
ERROR_REASON_PASS_TOO_LARGE: ErrorReason
ERROR_REASON_LOAD_CHANGED: ErrorReason
ERROR_REASON_REQUEST_MEMORY_FULL: ErrorReason
ERROR_REASON_SENDER_STALLED: ErrorReason
ERROR_REASON_TOO_MANY_ENTRIES: ErrorReason
ERROR_REASON_TOO_MANY_CALLS: ErrorReason

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "server", "load")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.Model
    server: _model_pb2.Server
    load: _model_pb2.Load
    def __init__(self, model: _Optional[_Union[_model_pb2.Model, _Mapping]] = ..., server: _Optional[_Union[_model_pb2.Server, _Mapping]] = ..., load: _Optional[_Union[_model_pb2.Load, _Mapping]] = ...) -> None: ...

class ListHooksRequest(_message.Message):
    __slots__ = ("filters", "load_id")
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    LOAD_ID_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedScalarFieldContainer[str]
    load_id: str
    def __init__(self, filters: _Optional[_Iterable[str]] = ..., load_id: _Optional[str] = ...) -> None: ...

class ListHooksResponse(_message.Message):
    __slots__ = ("hooks",)
    HOOKS_FIELD_NUMBER: _ClassVar[int]
    hooks: _containers.RepeatedCompositeFieldContainer[_model_pb2.HookPoint]
    def __init__(self, hooks: _Optional[_Iterable[_Union[_model_pb2.HookPoint, _Mapping]]] = ...) -> None: ...

class GetTokenizerRequest(_message.Message):
    __slots__ = ("load_id",)
    LOAD_ID_FIELD_NUMBER: _ClassVar[int]
    load_id: str
    def __init__(self, load_id: _Optional[str] = ...) -> None: ...

class GetTokenizerResponse(_message.Message):
    __slots__ = ("name", "size", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    data: bytes
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class GetWeightRequest(_message.Message):
    __slots__ = ("name", "rows", "max_message_bytes", "load_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: _tensor_pb2.Selection
    max_message_bytes: int
    load_id: str
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[_Union[_tensor_pb2.Selection, _Mapping]] = ..., max_message_bytes: _Optional[int] = ..., load_id: _Optional[str] = ...) -> None: ...

class GetWeightResponse(_message.Message):
    __slots__ = ("header", "offset", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: WeightHeader
    offset: int
    data: bytes
    def __init__(self, header: _Optional[_Union[WeightHeader, _Mapping]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class WeightHeader(_message.Message):
    __slots__ = ("name", "dtype", "shape", "n_rows", "bytes", "weights_digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    N_ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: _tensor_pb2.Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    n_rows: int
    bytes: int
    weights_digest: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., n_rows: _Optional[int] = ..., bytes: _Optional[int] = ..., weights_digest: _Optional[str] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: _run_pb2.RunSpec
    def __init__(self, spec: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _run_pb2.Plan
    def __init__(self, plan: _Optional[_Union[_run_pb2.Plan, _Mapping]] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: _run_pb2.RunSpec
    def __init__(self, spec: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ...) -> None: ...

class InteractRequest(_message.Message):
    __slots__ = ("spec", "upload", "answer", "keep")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    spec: _run_pb2.RunSpec
    upload: TensorChunks
    answer: TensorChunks
    keep: Keep
    def __init__(self, spec: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ..., upload: _Optional[_Union[TensorChunks, _Mapping]] = ..., answer: _Optional[_Union[TensorChunks, _Mapping]] = ..., keep: _Optional[_Union[Keep, _Mapping]] = ...) -> None: ...

class Keep(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tensors: _Optional[_Iterable[int]] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("accepted", "tensors", "progress", "receipt")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    tensors: TensorChunks
    progress: Progress
    receipt: _run_pb2.Receipt
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., tensors: _Optional[_Union[TensorChunks, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., receipt: _Optional[_Union[_run_pb2.Receipt, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("run_id", "plan", "queue_position", "shared_memory")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    plan: _run_pb2.Plan
    queue_position: int
    shared_memory: bool
    def __init__(self, run_id: _Optional[str] = ..., plan: _Optional[_Union[_run_pb2.Plan, _Mapping]] = ..., queue_position: _Optional[int] = ..., shared_memory: bool = ...) -> None: ...

class TensorChunks(_message.Message):
    __slots__ = ("chunks",)
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[TensorChunk]
    def __init__(self, chunks: _Optional[_Iterable[_Union[TensorChunk, _Mapping]]] = ...) -> None: ...

class TensorChunk(_message.Message):
    __slots__ = ("tensor", "offset", "shared_bytes", "shared_offset", "data")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SHARED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    tensor: int
    offset: int
    shared_bytes: int
    shared_offset: int
    data: bytes
    def __init__(self, tensor: _Optional[int] = ..., offset: _Optional[int] = ..., shared_bytes: _Optional[int] = ..., shared_offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("layers_done",)
    LAYERS_DONE_FIELD_NUMBER: _ClassVar[int]
    layers_done: int
    def __init__(self, layers_done: _Optional[int] = ...) -> None: ...
