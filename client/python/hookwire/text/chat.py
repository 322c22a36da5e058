"""Chat templates: from messages to the text that a model was trained on.

A checkpoint brings a Jinja template. It is rendered as Transformers renders it: in a sandbox, with
plain data only, and with Transformers' functions and filters.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from hookwire import errors

Template = str | dict[str, str] | None
"""One template, several by name, or none."""

_FILE = "chat_template.jinja"
_OLD_FILE = "chat_template.json"
_MORE_FILES = "additional_chat_templates/"
# Names that a message's reasoning has; the first is the one that templates read.
_REASONING = ("reasoning_content", "thinking", "reasoning")
# Stands behind the last message, to be found again in what the template has made of it.
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "


def template_of(files: Mapping[str, bytes], config: Mapping[str, Any]) -> Template:
    """The checkpoint's chat template, from where Transformers looks for it.

    Args:
        files: the tokenizer's files; chat_template.jinja and additional_chat_templates/NAME.jinja
            come before tokenizer_config.json, and chat_template.json, which processors have, last.
        config: tokenizer_config.json.

    Raises:
        NoTokenizerError: a file cannot be read.
    """
    found = {
        name.removeprefix(_MORE_FILES).removesuffix(".jinja"): _text(name, content)
        for name, content in sorted(files.items())
        if name.startswith(_MORE_FILES) and name.endswith(".jinja")
    }
    if _FILE in files:
        found = {"default": _text(_FILE, files[_FILE]), **found}
    if found:
        return found["default"] if list(found) == ["default"] else found
    template = config.get("chat_template")
    if template is None and _OLD_FILE in files:
        try:
            template = json.loads(_text(_OLD_FILE, files[_OLD_FILE])).get("chat_template")
        except (ValueError, AttributeError) as error:
            raise errors.NoTokenizerError(
                f"the checkpoint's {_OLD_FILE} cannot be read: {error}"
            ) from None
    if isinstance(template, list):
        return {one["name"]: one["template"] for one in template}
    return template


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.NoTokenizerError(f"the checkpoint's {name} is not text: {error}") from None


def choose(own: Template, given: str | None, tools: Any) -> str:
    """The template to use.

    Args:
        own: the checkpoint's.
        given: a template, or the name of one of several.
        tools: what the model may call: there may be a template for that.

    Raises:
        ChatTemplateError: there is none, or none of several is meant.
    """
    if isinstance(own, dict):
        if given is not None:
            return own.get(given, given)
        for name in ("tool_use", "default") if tools is not None else ("default",):
            if name in own:
                return own[name]
        raise errors.ChatTemplateError(
            f"the checkpoint has the chat templates {', '.join(sorted(own))} and no default: "
            "name one as chat_template="
        )
    template = given if given is not None else own
    if template is None:
        raise errors.ChatTemplateError(
            "the checkpoint has no chat template: it was not trained on chats, or its files lack "
            "chat_template.jinja. Pass a template as chat_template="
        )
    return template


def conversations(given: Any) -> tuple[list[list[dict[str, Any]]], bool]:
    """Chats, as lists of messages; and whether several were given.

    Raises:
        ArgumentError: no message.
        ArgumentTypeError: no messages.
    """
    if not isinstance(given, (list, tuple)):
        raise errors.ArgumentTypeError(
            'a conversation must be a list of messages such as {"role": "user", "content": "Hi"}, '
            f"not {given!r:.80}"
        )
    if not given:
        raise errors.ArgumentError("the conversation is empty: a chat template needs a message")
    is_batch = isinstance(given[0], (list, tuple))
    chats = []
    for chat in given if is_batch else [given]:
        messages = _plain(list(chat))
        for message in messages:
            if not isinstance(message, dict):
                raise errors.ArgumentTypeError(
                    'a message must be a dict such as {"role": "user", "content": "Hi"}, not '
                    f"{message!r:.80}"
                )
        # Templates handle a missing key, and often not None.
        chats.append(
            [{key: value for key, value in one.items() if value is not None} for one in messages]
        )
    return chats, is_batch


def render(
    template: str,
    chats: Sequence[list[dict[str, Any]]],
    *,
    tools: Any,
    documents: Any,
    add_generation_prompt: bool,
    continue_final_message: bool | str,
    variables: Mapping[str, Any],
) -> list[str]:
    """The texts of chats. Arguments as in `Tokenizer.apply_chat_template`.

    Raises:
        ChatTemplateError: the template is wrong, or refuses the messages.
        ArgumentError: arguments that contradict each other.
    """
    if continue_final_message and add_generation_prompt:
        raise errors.ArgumentError(
            "continue_final_message and add_generation_prompt exclude each other: the last message "
            "either goes on, or is followed by a new one"
        )
    for tool in tools or ():
        if not isinstance(tool, Mapping):
            raise errors.UnsupportedError(
                "tools must be JSON schemas, as dicts: schemas of Python functions are not made "
                "here. transformers.utils.get_json_schema(function) makes one"
            )
    compiled = _compiled(template)
    plain = _plain(dict(variables))
    texts = []
    for messages in chats:
        chat = [_with_reasoning(message) for message in messages]
        last = ""
        if continue_final_message:
            field = continue_final_message if isinstance(continue_final_message, str) else "content"
            last = _mark(chat, field, template)
        try:
            text = compiled.render(
                messages=chat,
                tools=_plain(tools),
                documents=_plain(documents),
                add_generation_prompt=add_generation_prompt,
                **plain,
            )
        except Exception as error:  # whatever a template does wrong
            raise errors.ChatTemplateError(
                f"the chat template cannot render these messages: {error}"
            ) from None
        texts.append(_cut(text, last) if continue_final_message else text)
    return texts


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose reasoning has the names that templates read."""
    reasoning = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    if reasoning is None:
        return dict(message)
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _mark(chat: list[dict[str, Any]], field: str, template: str) -> str:
    """Puts the tag behind what the model is to continue, and returns what that is."""
    last: Any = chat[-1].get(field)
    if last is None:
        raise errors.ChatTemplateError(
            f"continue_final_message: the last message has no {field!r} to continue"
        )
    names = [field]
    if field in _REASONING:
        names = [name for name in _REASONING if chat[-1].get(name) == last]
    if not any(name in template for name in names):
        raise errors.ChatTemplateError(
            f"continue_final_message: the chat template does not read {field!r}"
        )
    if isinstance(last, str):
        for name in names:
            chat[-1][name] = last + _TAG
        return last
    for block in reversed(last):
        if "text" in block:
            text = str(block["text"])
            block["text"] = text + _TAG
            return text
    raise errors.ChatTemplateError(
        "continue_final_message: the last message has no text to continue"
    )


def _cut(text: str, last: str) -> str:
    """The text up to the tag."""
    if last.strip() not in text or _TAG.strip() not in text:
        raise errors.ChatTemplateError(
            "continue_final_message: the chat template leaves out, or changes, the last message"
        )
    at = text.rindex(_TAG.strip())
    # Where the template trims messages, the tag's own space is gone.
    return text[:at] if text[at : at + len(_TAG)] == _TAG else text[:at].rstrip()


def _plain(value: Any) -> Any:
    """Plain data, with nothing that a template could call; of other objects the type's name."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value) if kind is not str else str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (
            type(value)(map(_plain, value))
            if type(value) in (list, tuple)
            else list(map(_plain, value))
        )
    if isinstance(value, np.generic):
        return _plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return _plain(value.model_dump())
    return f"<{type(value).__name__}>"


@functools.lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    """The template, compiled in Transformers' sandbox.

    Raises:
        ChatTemplateError: jinja2 is missing or too old, or the template is wrong.
    """
    try:
        import jinja2
        import jinja2.ext
        import jinja2.sandbox
    except ImportError:
        raise errors.ChatTemplateError(
            "chat templates need jinja2, which is not installed: pip install hookwire[chat]"
        ) from None
    if tuple(map(int, jinja2.__version__.split(".")[:3])) < (3, 1, 6):
        raise errors.ChatTemplateError(
            f"chat templates need jinja2 3.1.6 or newer, for {jinja2.__version__} has known ways "
            "out of its sandbox: pip install -U hookwire[chat]"
        )
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(template)
    except Exception as error:  # whatever is wrong with a template
        raise errors.ChatTemplateError(f"the chat template cannot be read: {error}") from None


def _generation() -> Any:
    """The extension for {% generation %}, which marks the assistant's words and renders as they."""
    import jinja2.ext
    import jinja2.nodes

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    return Generation


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As JSON, without the escapes for HTML of jinja2's own filter."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: str) -> None:
    """What templates call to refuse messages."""
    raise errors.ChatTemplateError(message)


def _strftime_now(form: str) -> str:
    """The time of now."""
    return datetime.now().strftime(form)
