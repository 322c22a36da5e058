from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttentionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTENTION_TYPE_UNSPECIFIED: _ClassVar[AttentionType]
    ATTENTION_TYPE_SLIDING: _ClassVar[AttentionType]
    ATTENTION_TYPE_FULL: _ClassVar[AttentionType]

class Numerics(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NUMERICS_UNSPECIFIED: _ClassVar[Numerics]
    NUMERICS_FAST: _ClassVar[Numerics]
    NUMERICS_REFERENCE: _ClassVar[Numerics]
    NUMERICS_INVARIANT: _ClassVar[Numerics]
ATTENTION_TYPE_UNSPECIFIED: AttentionType
ATTENTION_TYPE_SLIDING: AttentionType
ATTENTION_TYPE_FULL: AttentionType
NUMERICS_UNSPECIFIED: Numerics
NUMERICS_FAST: Numerics
NUMERICS_REFERENCE: Numerics
NUMERICS_INVARIANT: Numerics

class Rope(_message.Message):
    __slots__ = ("attention_type", "type", "theta", "partial_rotary_factor")
    ATTENTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    THETA_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_ROTARY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    attention_type: AttentionType
    type: str
    theta: float
    partial_rotary_factor: float
    def __init__(self, attention_type: _Optional[_Union[AttentionType, str]] = ..., type: _Optional[str] = ..., theta: _Optional[float] = ..., partial_rotary_factor: _Optional[float] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("attention_type", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "key_value_source", "key_is_value", "layer_scalar")
    ATTENTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    N_HEADS_FIELD_NUMBER: _ClassVar[int]
    N_KEY_VALUE_HEADS_FIELD_NUMBER: _ClassVar[int]
    D_HEAD_FIELD_NUMBER: _ClassVar[int]
    D_MLP_FIELD_NUMBER: _ClassVar[int]
    KEY_VALUE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    KEY_IS_VALUE_FIELD_NUMBER: _ClassVar[int]
    LAYER_SCALAR_FIELD_NUMBER: _ClassVar[int]
    attention_type: AttentionType
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_mlp: int
    key_value_source: int
    key_is_value: bool
    layer_scalar: float
    def __init__(self, attention_type: _Optional[_Union[AttentionType, str]] = ..., n_heads: _Optional[int] = ..., n_key_value_heads: _Optional[int] = ..., d_head: _Optional[int] = ..., d_mlp: _Optional[int] = ..., key_value_source: _Optional[int] = ..., key_is_value: bool = ..., layer_scalar: _Optional[float] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "architecture", "variant", "n_layers", "d_model", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "d_vocab", "n_ctx", "eps", "act_fn", "sliding_window", "final_logit_softcap", "d_per_layer_input", "n_key_value_shared_layers", "n_experts", "n_experts_per_token", "d_expert", "tie_word_embeddings", "ropes", "layers", "bos_token_id", "eos_token_ids", "pad_token_id", "n_params", "weights_digest", "d_vocab_per_layer_input", "unread_tensors", "n_unread_tensors", "unread_files", "n_unread_files")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    N_LAYERS_FIELD_NUMBER: _ClassVar[int]
    D_MODEL_FIELD_NUMBER: _ClassVar[int]
    N_HEADS_FIELD_NUMBER: _ClassVar[int]
    N_KEY_VALUE_HEADS_FIELD_NUMBER: _ClassVar[int]
    D_HEAD_FIELD_NUMBER: _ClassVar[int]
    D_MLP_FIELD_NUMBER: _ClassVar[int]
    D_VOCAB_FIELD_NUMBER: _ClassVar[int]
    N_CTX_FIELD_NUMBER: _ClassVar[int]
    EPS_FIELD_NUMBER: _ClassVar[int]
    ACT_FN_FIELD_NUMBER: _ClassVar[int]
    SLIDING_WINDOW_FIELD_NUMBER: _ClassVar[int]
    FINAL_LOGIT_SOFTCAP_FIELD_NUMBER: _ClassVar[int]
    D_PER_LAYER_INPUT_FIELD_NUMBER: _ClassVar[int]
    N_KEY_VALUE_SHARED_LAYERS_FIELD_NUMBER: _ClassVar[int]
    N_EXPERTS_FIELD_NUMBER: _ClassVar[int]
    N_EXPERTS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    D_EXPERT_FIELD_NUMBER: _ClassVar[int]
    TIE_WORD_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    ROPES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BOS_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    PAD_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    N_PARAMS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    D_VOCAB_PER_LAYER_INPUT_FIELD_NUMBER: _ClassVar[int]
    UNREAD_TENSORS_FIELD_NUMBER: _ClassVar[int]
    N_UNREAD_TENSORS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FILES_FIELD_NUMBER: _ClassVar[int]
    N_UNREAD_FILES_FIELD_NUMBER: _ClassVar[int]
    name: str
    architecture: str
    variant: str
    n_layers: int
    d_model: int
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    eps: float
    act_fn: str
    sliding_window: int
    final_logit_softcap: float
    d_per_layer_input: int
    n_key_value_shared_layers: int
    n_experts: int
    n_experts_per_token: int
    d_expert: int
    tie_word_embeddings: bool
    ropes: _containers.RepeatedCompositeFieldContainer[Rope]
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    bos_token_id: int
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    pad_token_id: int
    n_params: int
    weights_digest: str
    d_vocab_per_layer_input: int
    unread_tensors: _containers.RepeatedScalarFieldContainer[str]
    n_unread_tensors: int
    unread_files: _containers.RepeatedCompositeFieldContainer[UnreadFile]
    n_unread_files: int
    def __init__(self, name: _Optional[str] = ..., architecture: _Optional[str] = ..., variant: _Optional[str] = ..., n_layers: _Optional[int] = ..., d_model: _Optional[int] = ..., n_heads: _Optional[int] = ..., n_key_value_heads: _Optional[int] = ..., d_head: _Optional[int] = ..., d_mlp: _Optional[int] = ..., d_vocab: _Optional[int] = ..., n_ctx: _Optional[int] = ..., eps: _Optional[float] = ..., act_fn: _Optional[str] = ..., sliding_window: _Optional[int] = ..., final_logit_softcap: _Optional[float] = ..., d_per_layer_input: _Optional[int] = ..., n_key_value_shared_layers: _Optional[int] = ..., n_experts: _Optional[int] = ..., n_experts_per_token: _Optional[int] = ..., d_expert: _Optional[int] = ..., tie_word_embeddings: bool = ..., ropes: _Optional[_Iterable[_Union[Rope, _Mapping]]] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., bos_token_id: _Optional[int] = ..., eos_token_ids: _Optional[_Iterable[int]] = ..., pad_token_id: _Optional[int] = ..., n_params: _Optional[int] = ..., weights_digest: _Optional[str] = ..., d_vocab_per_layer_input: _Optional[int] = ..., unread_tensors: _Optional[_Iterable[str]] = ..., n_unread_tensors: _Optional[int] = ..., unread_files: _Optional[_Iterable[_Union[UnreadFile, _Mapping]]] = ..., n_unread_files: _Optional[int] = ...) -> None: ...

class UnreadFile(_message.Message):
    __slots__ = ("name", "n_tensors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    N_TENSORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    n_tensors: int
    def __init__(self, name: _Optional[str] = ..., n_tensors: _Optional[int] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("build", "device", "dtype", "numerics", "threads", "max_request_bytes", "max_result_bytes", "max_tokens", "capabilities", "shared_memory_socket", "load_id")
    BUILD_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_SOCKET_FIELD_NUMBER: _ClassVar[int]
    LOAD_ID_FIELD_NUMBER: _ClassVar[int]
    build: str
    device: str
    dtype: _tensor_pb2.Dtype
    numerics: Numerics
    threads: int
    max_request_bytes: int
    max_result_bytes: int
    max_tokens: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    shared_memory_socket: str
    load_id: str
    def __init__(self, build: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., numerics: _Optional[_Union[Numerics, str]] = ..., threads: _Optional[int] = ..., max_request_bytes: _Optional[int] = ..., max_result_bytes: _Optional[int] = ..., max_tokens: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., shared_memory_socket: _Optional[str] = ..., load_id: _Optional[str] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("waiting_runs", "running_runs", "open_results", "buffered_bytes", "shared_memory_bytes", "shared_memory_clients", "request_bytes")
    WAITING_RUNS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_RUNS_FIELD_NUMBER: _ClassVar[int]
    OPEN_RESULTS_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_CLIENTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    waiting_runs: int
    running_runs: int
    open_results: int
    buffered_bytes: int
    shared_memory_bytes: int
    shared_memory_clients: int
    request_bytes: int
    def __init__(self, waiting_runs: _Optional[int] = ..., running_runs: _Optional[int] = ..., open_results: _Optional[int] = ..., buffered_bytes: _Optional[int] = ..., shared_memory_bytes: _Optional[int] = ..., shared_memory_clients: _Optional[int] = ..., request_bytes: _Optional[int] = ...) -> None: ...

class HookPoint(_message.Message):
    __slots__ = ("name", "aliases", "layer", "axes", "dtype", "writable", "read_only_reason", "module")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_REASON_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    name: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    layer: int
    axes: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Axis]
    dtype: _tensor_pb2.Dtype
    writable: bool
    read_only_reason: str
    module: str
    def __init__(self, name: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., layer: _Optional[int] = ..., axes: _Optional[_Iterable[_Union[_tensor_pb2.Axis, _Mapping]]] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., writable: bool = ..., read_only_reason: _Optional[str] = ..., module: _Optional[str] = ...) -> None: ...
