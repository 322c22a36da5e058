from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_FLOAT32: _ClassVar[Dtype]
    DTYPE_BFLOAT16: _ClassVar[Dtype]
    DTYPE_FLOAT16: _ClassVar[Dtype]
    DTYPE_FLOAT64: _ClassVar[Dtype]
    DTYPE_INT64: _ClassVar[Dtype]
DTYPE_UNSPECIFIED: Dtype
DTYPE_FLOAT32: Dtype
DTYPE_BFLOAT16: Dtype
DTYPE_FLOAT16: Dtype
DTYPE_FLOAT64: Dtype
DTYPE_INT64: Dtype

class Selection(_message.Message):
    __slots__ = ("indices", "range")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    indices: Indices
    range: Range
    def __init__(self, indices: _Optional[_Union[Indices, _Mapping]] = ..., range: _Optional[_Union[Range, _Mapping]] = ...) -> None: ...

class Indices(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("start", "stop", "step")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    start: int
    stop: int
    step: int
    def __init__(self, start: _Optional[int] = ..., stop: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class Axis(_message.Message):
    __slots__ = ("kind", "name", "size")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Axis.Kind]
        KIND_POSITION: _ClassVar[Axis.Kind]
        KIND_KEY_POSITION: _ClassVar[Axis.Kind]
        KIND_HEAD: _ClassVar[Axis.Kind]
        KIND_KEY_VALUE_HEAD: _ClassVar[Axis.Kind]
        KIND_FEATURE: _ClassVar[Axis.Kind]
    KIND_UNSPECIFIED: Axis.Kind
    KIND_POSITION: Axis.Kind
    KIND_KEY_POSITION: Axis.Kind
    KIND_HEAD: Axis.Kind
    KIND_KEY_VALUE_HEAD: Axis.Kind
    KIND_FEATURE: Axis.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    kind: Axis.Kind
    name: str
    size: int
    def __init__(self, kind: _Optional[_Union[Axis.Kind, str]] = ..., name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("scalar", "tensor", "upload")
    SCALAR_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    scalar: float
    tensor: TensorValue
    upload: UploadedValue
    def __init__(self, scalar: _Optional[float] = ..., tensor: _Optional[_Union[TensorValue, _Mapping]] = ..., upload: _Optional[_Union[UploadedValue, _Mapping]] = ...) -> None: ...

class UploadedValue(_message.Message):
    __slots__ = ("dtype", "shape", "upload")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    dtype: Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    upload: int
    def __init__(self, dtype: _Optional[_Union[Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., upload: _Optional[int] = ...) -> None: ...

class TensorValue(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...
