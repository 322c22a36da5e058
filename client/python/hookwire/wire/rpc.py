"""The calls of `ActivationService`, as both the blocking and the asynchronous client make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.ask import uploads
from hookwire.facts import characters
from hookwire.wire import decode as wire

DEFAULT_ADDRESS = "127.0.0.1:7431"
_MAX_PORT = 65535
# The largest response that a run may ask for, and some room for what wraps it.
_MAX_RESPONSE = 2**30 + 2**20

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_RESPONSE),
    ("grpc.max_send_message_length", -1),  # the server says what it takes; that is checked first
    ("grpc.enable_http_proxy", 0),
    # Channels share no connection: a process that was forked would speak on its parent's.
    ("grpc.use_local_subchannel_pool", 1),
    # Once the server is there, it is found within two seconds, however long it was away: where
    # nothing listens, the next attempt follows after a second at most; where nothing answers at
    # all, the attempt lasts five, in which the system tries after 0, 1 and 3.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A run is answered in the calling thread: no thread is started for it.
    ("SingleThreadedUnaryStream", 1),
]


@dataclass(frozen=True)
class Method:
    """One call.

    Attributes:
        path: on the wire.
        streams: whether it answers with a stream.
        decode: makes a response out of its bytes.
        takes_stream: whether it is asked with a stream.
    """

    path: str
    streams: bool
    decode: Callable[[bytes], Any]
    takes_stream: bool = False

    def bind(self, channel: Any) -> Any:
        """The call on a channel, blocking or asynchronous."""
        make = channel.unary_stream if self.streams else channel.unary_unary
        if self.takes_stream:
            make = channel.stream_stream
        return make(self.path, request_serializer=_encode, response_deserializer=self.decode)


def _encode(request: Any) -> bytes:
    encoded: bytes = request.SerializeToString()
    return encoded


_SERVICE = "/hookwire.v1.ActivationService/"
GET_MODEL = Method(_SERVICE + "GetModel", False, service_pb2.GetModelResponse.FromString)
LIST_HOOKS = Method(_SERVICE + "ListHooks", False, service_pb2.ListHooksResponse.FromString)
GET_TOKENIZER = Method(_SERVICE + "GetTokenizer", True, service_pb2.GetTokenizerResponse.FromString)
GET_WEIGHT = Method(_SERVICE + "GetWeight", True, wire.decode_weight)
PLAN = Method(_SERVICE + "Plan", False, service_pb2.PlanResponse.FromString)
RUN = Method(_SERVICE + "Run", True, wire.decode_event)
INTERACT = Method(_SERVICE + "Interact", True, wire.decode_event, takes_stream=True)


class Calls:
    """A channel, blocking or asynchronous, and the calls on it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.get_model = GET_MODEL.bind(channel)
        self.list_hooks = LIST_HOOKS.bind(channel)
        self.get_tokenizer = GET_TOKENIZER.bind(channel)
        self.get_weight = GET_WEIGHT.bind(channel)
        self.plan = PLAN.bind(channel)
        self.run = RUN.bind(channel)
        self.interact = INTERACT.bind(channel)


# How often a server may change what it holds while a client asks for it.
MEETINGS = 5


def restless(address: str) -> errors.LoadChangedError:
    """The error where the server is another one at each call."""
    return errors.LoadChangedError(
        f"the server at {address} held another load at each of {MEETINGS} attempts to ask what it "
        "holds: several servers seem to answer at this address"
    )


# Of the payload of what a client sends in an interactive run.
_PIECE = 1 << 20


def pieces(number: int, data: bytes | memoryview) -> Iterator[service_pb2.TensorChunks]:
    """A tensor's bytes, cut into messages."""
    for offset in range(0, len(data), _PIECE):
        chunks = service_pb2.TensorChunks()
        chunks.chunks.add(tensor=number, offset=offset, data=bytes(data[offset : offset + _PIECE]))
        yield chunks


def opening(
    spec: run_pb2.RunSpec, values: Sequence[bytes]
) -> Iterator[service_pb2.InteractRequest]:
    """The messages with which an interactive run begins: the run, and values that are not in it."""
    yield service_pb2.InteractRequest(spec=spec)
    for chunks in uploads.pack(values, _PIECE):
        yield service_pb2.InteractRequest(upload=chunks)


def check_address(address: str) -> str:
    """The address as gRPC takes it: "host:port", or a URI such as "unix:/run/hookwired.sock".

    Raises:
        ArgumentTypeError: no string.
        ArgumentError: no port, or no valid Unicode.
    """
    if not isinstance(address, str):
        raise errors.ArgumentTypeError(
            f'an address is a string, such as "{DEFAULT_ADDRESS}", not {address!r}'
        )
    characters.check(address, "the address")
    scheme, _, rest = address.partition(":")
    is_uri = scheme in ("unix", "unix-abstract", "dns", "ipv4", "ipv6", "passthrough")
    host, _, port = address.rpartition(":")
    # gRPC would take the port modulo 65536, and so reach another server.
    is_port = port.isascii() and port.isdigit() and int(port) <= _MAX_PORT
    if scheme in ("unix", "unix-abstract"):
        fits = True
    elif is_uri:
        fits = is_port or not port.isdigit()
    else:
        fits = is_port and bool(host) and "/" not in host
    if scheme not in ("unix", "unix-abstract") and any(map(str.isspace, address)):
        fits = False
    if not rest or not fits:
        raise errors.ArgumentError(
            f'an address is "host:port", such as "{DEFAULT_ADDRESS}", or "unix:/path", '
            f"not {address!r}"
        )
    return address


def join_files(chunks: Iterable[service_pb2.GetTokenizerResponse]) -> dict[str, bytes]:
    """Files out of the chunks that `GetTokenizer` sends.

    Raises:
        IncompleteResultError: a file is not whole.
    """
    files: dict[str, bytearray] = {}
    sizes: dict[str, int] = {}
    for chunk in chunks:
        files.setdefault(chunk.name, bytearray()).extend(chunk.data)
        sizes[chunk.name] = chunk.size
    for name, content in files.items():
        if len(content) != sizes[name]:
            raise errors.IncompleteResultError(
                f"the server sent {len(content)} of {sizes[name]} bytes of {name}"
            )
    return {name: bytes(content) for name, content in files.items()}
