"""What the server says, in the words of this package.

The server's sentences speak of the wire: of sequences, interventions and fields of the request.
Here they become rows, hooks and arguments. What a user has written, which the server quotes, stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hookwire._proto import model_pb2, run_pb2, service_pb2, tensor_pb2

# Of no use to who did not write the request: this package did.
_DISAGREEMENT = (
    "this client and the server disagree about what belongs into {what}: their versions differ, or "
    "one of them is faulty"
)
_WHOLE = {
    "UNKNOWN_FIELD": "the server is older than this client, and does not know something that was "
    "asked for: use a server of this client's version, or ask for less",
    "MALFORMED_REQUEST": _DISAGREEMENT.format(what="a request"),
    "UNEXPECTED_MESSAGE": _DISAGREEMENT.format(what="a run"),
}
# The arguments that become the fields of a selection, an op or an output.
_ARGUMENTS = {
    "positions": "pos=",
    "heads": "head=",
    "features": "feature=",
    "sequences": "row=",
    "from_sequence": "from_row",
    "token_ids": "targets",
}
_PHRASES = {
    ", or set max_message_bytes": "",
    "`hookwire hooks` and ListHooks list": "model.hook_dict and the command hookwire hooks list",
    "max_message_bytes": "the size of a message",
    "outputs.residual": "what a run with stop_at_layer returns",
    "(features)": "(feature=)",
    "read before interventions": "read before the hooks",
    "the answer at": "what the function gave back at",
}
_WORDS = {
    "sequence": "row",
    "sequences": "rows",
    "intervention": "hook",
    "interventions": "hooks",
    "callback": "function",
    "callbacks": "functions",
}
_ENUMS = {
    value.name: value.name.removeprefix(f"{enum.name.upper()}_").lower()
    for file in (model_pb2, run_pb2, service_pb2, tensor_pb2)
    for enum in file.DESCRIPTOR.enum_types_by_name.values()
    for value in enum.values
}
_TERM = re.compile(rf"\b({'|'.join(sorted({**_WORDS, **_ENUMS}, key=len, reverse=True))})\b")
# Numbered by the request, which users do not see: which one it is, is said by `Request.blame`.
_NUMBERED = {
    re.compile(r"\bintervention \d+\b"): "a hook's function",
    re.compile(r"\bupload \d+\b"): "a hook's value",
    re.compile(r"\bcapture \d+\b"): "names_filter",
}
_QUOTED = "'[^']*'"
# Names and globs that a message repeats, with or without quotes.
_NAMES = ("hook", "corrected")


def in_python(
    message: str, reason: str, field: str | None, metadata: Mapping[str, str] | None = None
) -> str:
    """A sentence of the server in the words of this package.

    Args:
        message: the sentence.
        reason: a name of `ErrorReason`; empty where there is none.
        field: the field of the request that is to blame; None where unknown.
        metadata: what the reason brings along; names and globs in it stay as they are.
    """
    if reason in _WHOLE:
        return _WHOLE[reason]
    names = {name for key in _NAMES if (name := (metadata or {}).get(key, "")) and "." in name}
    kept = [_QUOTED, *map(re.escape, sorted(names, key=len, reverse=True))]
    parts = re.split(f"({'|'.join(kept)})", message)
    parts[::2] = [_translated(part, field or "") for part in parts[::2]]
    return "".join(parts)


def _translated(text: str, field: str) -> str:
    steps = field.split(".")
    for end in range(len(steps), 0, -1):
        path = ".".join(steps[:end])
        if end > 1 or "[" in path:
            text = text.replace(path, named(path))
    text = re.sub(r"`(\w+)`", lambda found: _ARGUMENTS.get(found[1], found[1]), text)
    for numbered, ours in _NUMBERED.items():
        text = numbered.sub(ours, text)
    for theirs, ours in _PHRASES.items():
        text = text.replace(theirs, ours)
    return _TERM.sub(lambda found: _WORDS.get(found[1]) or _ENUMS[found[1]], text)


_NO_GLOB = re.compile(r"[][{}()?|^$\\]")


def about_globs(name: str) -> str:
    """What to add to the error for a name with signs of patterns that there are not here."""
    if not _NO_GLOB.search(name):
        return ""
    return (
        "; only * and ** stand for parts of a name, within a part and across the dots: give a list "
        "of names, or a function of a name, for anything else"
    )


# What gRPC says where nothing answers, from the operating system or the resolver.
_NO_ANSWER = {
    "Connection refused": "no server listens there",
    "No such file or directory": "there is no such socket",
    "Permission denied": "this user may not connect there",
    "Domain name not found": "no host has that name",
    "Misformatted domain name": "no host can have that name",
    "Network is unreachable": "this machine has no network that leads there",
    "No route to host": "no network leads there",
}


def why_no_answer(details: str) -> str:
    """Why no server answers, in words that need no knowledge of gRPC where the cause is known."""
    for cause, said in _NO_ANSWER.items():
        if cause.lower() in details.lower():
            return f"{said} ({cause})"
    return details


def counted(number: int, noun: str) -> str:
    """A number of things: "1 row", "2 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def named(path: str) -> str:
    """What a field of the request is to a user: "spec.captures[0].hook" is names_filter."""
    steps = path.removeprefix("spec.").split(".")
    first, _, rest = steps[0].partition("[")
    number = rest.removesuffix("]")
    if first == "interventions":
        return "a hook's value" if steps[-1] in ("value", "factor", "tensor") else "a hook"
    if first == "captures":
        return "dtype" if steps[-1] == "dtype" else "names_filter"
    if first == "sequences":
        return f"row {number}" if number else "the input"
    if first == "outputs":
        return "logits_pos" if steps[1:] == ["logits", "positions"] else "return_type"
    return first


def entry_of(field: str | None) -> tuple[str, int] | None:
    """The list and the number in it of the capture or intervention that a field belongs to."""
    found = re.match(r"spec\.(captures|interventions)\[(\d+)\]", field or "")
    return (found[1], int(found[2])) if found else None


def intervention_of(field: str | None) -> int | None:
    """The number of the intervention that a field belongs to; None where it belongs to none."""
    entry = entry_of(field)
    return entry[1] if entry is not None and entry[0] == "interventions" else None
