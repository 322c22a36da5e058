"""Whether a string is text: Python's strings can hold what no Unicode text can."""

from __future__ import annotations

from hookwire import errors


def check(text: str, what: str) -> str:
    """The text itself, if it is valid Unicode.

    Args:
        text: a string.
        what: what it is, for the message, such as "the input".

    Raises:
        ArgumentError: it holds a lone surrogate: half of a character of UTF-16, or a byte that
            was no UTF-8 where the string was read.
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise errors.ArgumentError(
            f"{what} is not valid Unicode text: character {error.start} is the lone surrogate "
            f"\\u{ord(text[error.start]):04x}, half of a character or a byte that is not UTF-8. "
            'text.encode("utf-8", "replace").decode() puts "?" in its place'
        ) from None
    return text
