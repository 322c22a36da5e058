"""What a function says when it is called with arguments that it does not take.

`checked` and `checked_methods` are put on what users call. A call that Python refuses raises an
ArgumentTypeError, which is a TypeError, that names the function as users write it and the keyword
that is meant. And what takes True or False takes nothing else: a names filter where a method has
`remove_batch_dim` would count as True.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from hookwire import errors
from hookwire.errors.nearest import nearest

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def checked(name: str) -> Callable[[F], F]:
    """A decorator for functions that users call.

    Args:
        name: as users write it, such as "ops.set".
    """
    return lambda function: _checked(function, name, is_method=False)


def checked_methods(
    noun: str, *more: str, refused: Mapping[str, str] | None = None
) -> Callable[[C], C]:
    """A decorator for classes whose objects users have: it checks the calls of all public methods.

    Args:
        noun: what the documentation calls an object of the class, such as "model".
        *more: names of special methods to check; `__call__` always is.
        refused: keywords that these methods do not have, and why not: what stands for "not given",
            such as None, is passed over, and any other value an UnsupportedError.
    """

    def decorate(cls: C) -> C:
        for name, member in list(vars(cls).items()):
            is_public = not name.startswith("_") or name in ("__call__", *more)
            if not is_public or not isinstance(member, types.FunctionType):
                continue
            shown = {"__call__": noun, "__init__": cls.__name__}.get(name, f"{noun}.{name}")
            setattr(cls, name, _checked(member, shown, is_method=True, refused=refused or {}))
        return cls

    return decorate


def _checked(
    function: F, name: str, is_method: bool, refused: Mapping[str, str] = MappingProxyType({})
) -> F:
    signature = inspect.signature(function)
    if is_method:
        own = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=own)
    skipped = 1 if is_method else 0
    flags = _flags(signature)

    def refuse_others(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for flag, at, or_none in flags:
            if at is not None and at < len(args):
                value = args[at]
            elif flag in kwargs:
                value = kwargs[flag]
            else:
                continue
            if type(value) is not bool and not (or_none and value is None):
                _check_flag(name, flag, value, or_none, by_position=flag not in kwargs)

    def without_refused(kwargs: dict[str, Any]) -> dict[str, Any]:
        for keyword in refused.keys() & kwargs.keys():
            if errors.is_set(kwargs[keyword]):
                raise errors.UnsupportedError(f"{keyword} is not supported: {refused[keyword]}")
        return {keyword: value for keyword, value in kwargs.items() if keyword not in refused}

    def why(
        error: TypeError, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> errors.ArgumentTypeError | None:
        """The error to raise instead of one; None: that one."""
        if isinstance(error, errors.HookwireError):
            _put_name(error, name, kwargs, signature)
            return None
        return _why_not(name, signature, args, kwargs)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_and_wait(*args: Any, **kwargs: Any) -> Any:
            refuse_others(args[skipped:], kwargs)
            try:
                return await function(*args, **kwargs)
            except TypeError as error:
                made = why(error, args[skipped:], kwargs)
                if made is None:
                    raise
                raise made from None

        return call_and_wait  # type: ignore[return-value]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if refused:
            kwargs = without_refused(kwargs)
        refuse_others(args[skipped:], kwargs)
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            made = why(error, args[skipped:], kwargs)
            if made is None:
                raise
            raise made from None

    return call  # type: ignore[return-value]


def unexpected(name: str, keyword: str, known: Iterable[str]) -> errors.ArgumentTypeError:
    """The error for a keyword that a function does not take.

    Args:
        name: of the function, as users write it.
        keyword: that was given.
        known: those that it takes.
    """
    names = list(dict.fromkeys(known))
    near = nearest(keyword, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names) or 'none'}"
    return errors.ArgumentTypeError(
        f"{name}() got an unexpected keyword argument {keyword!r}; {hint}",
        metadata={
            "function": name,
            "argument": keyword,
            **({"suggestion": near[0]} if near else {}),
        },
    )


def check_callable(function: Any, what: str, accepts: str, *args: Any, **kwargs: Any) -> None:
    """Refuses what cannot be called as it will be.

    Args:
        function: what a user gives.
        what: the argument, for messages; or what it is, such as the function itself.
        accepts: how it is called, such as "a function of a name".
        *args: with what it will be called, or as much of it.
        **kwargs: likewise.

    Raises:
        ArgumentTypeError: it is not callable, or does not take these arguments.
    """
    if not callable(function):
        raise errors.ArgumentTypeError(f"{what} must be {accepts}, not {errors.shown(function)}")
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except ValueError:
        return  # some that are written in C do not say what they take
    except TypeError as error:
        raise errors.ArgumentTypeError(
            f"{what} must be {accepts}, and this one does not take that: {error}"
        ) from None


def check_flag(name: str, value: Any) -> None:
    """Refuses what is neither True, False nor None.

    Args:
        name: of the argument.
        value: that it was given.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if value is not None and type(value) is not bool and not _is_scalar_of_bool(value):
        raise errors.ArgumentTypeError(
            f"{name} must be True, False or None, not {errors.shown(value)}"
        )


def keywords(function: Callable[..., Any]) -> list[str]:
    """The arguments of a function that can be given by keyword, in its order."""
    return _keywords(inspect.signature(function))


def _keywords(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, one in signature.parameters.items() if one.kind in kinds]


def _put_name(
    error: errors.HookwireError,
    name: str,
    kwargs: Mapping[str, Any],
    signature: inspect.Signature,
) -> None:
    """Blames this function for a keyword that it was given, and has only passed on."""
    inner, keyword = error.metadata.get("function"), error.metadata.get("argument")
    if inner is not None and keyword in kwargs and keyword not in signature.parameters:
        error.set_message(error.message.replace(f"{inner}()", f"{name}()", 1))
        error.metadata["function"] = name


def _why_not(
    name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> errors.ArgumentTypeError | None:
    """What is wrong with the arguments of a call; None where the function takes them."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        pass
    else:
        return None
    parameters = signature.parameters
    by_position = [key for key, one in parameters.items() if one.kind in _BY_POSITION]
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    missing = [
        repr(key)
        for number, (key, one) in enumerate(parameters.items())
        if one.default is inspect.Parameter.empty
        and one.kind in (*_BY_POSITION, inspect.Parameter.KEYWORD_ONLY)
        and key not in kwargs
        and (number >= len(args) or key not in by_position)
    ]
    for keyword in kwargs:
        is_known = keyword in parameters or takes_any
        # A word that is like no argument stands for the one that is missing.
        if not is_known and (not missing or nearest(keyword, _keywords(signature), 1)):
            return unexpected(name, keyword, _keywords(signature))
    if len(args) > len(by_position):
        takes = f"{len(by_position)} ({', '.join(by_position)})" if by_position else "none"
        others = [key for key in _keywords(signature) if key not in by_position]
        rest = f"; {', '.join(others)} can be given by keyword" if others else ""
        count = "1 argument" if len(args) == 1 else f"{len(args)} arguments"
        return errors.ArgumentTypeError(
            f"{name}() got {count} by position, and takes {takes}{rest}"
        )
    for keyword in by_position[: len(args)]:
        if keyword in kwargs:
            return errors.ArgumentTypeError(
                f"{name}() got {keyword!r} twice: by its position and by its keyword"
            )
    others = [repr(keyword) for keyword in kwargs if keyword not in parameters]
    instead = f"; {', '.join(others)} is not one of its arguments" if others else ""
    return errors.ArgumentTypeError(
        f"{name}() needs {' and '.join(missing)}, which was not given{instead}"
    )


def _flags(signature: inspect.Signature) -> list[tuple[str, int | None, bool]]:
    """The arguments that are True or False: name, position, and whether None is one too."""
    found = []
    for number, (name, one) in enumerate(signature.parameters.items()):
        if one.annotation in ("bool", "bool | None"):
            at = number if one.kind in _BY_POSITION else None
            found.append((name, at, one.annotation != "bool"))
    return found


def _check_flag(name: str, flag: str, value: Any, or_none: bool, by_position: bool) -> None:
    """Refuses what is neither True nor False.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if _is_scalar_of_bool(value):
        return
    accepts = "True, False or None" if or_none else "True or False"
    hint = (
        ". It was given by its position; if another argument is meant, give that by its keyword"
        if by_position
        else ""
    )
    raise errors.ArgumentTypeError(
        f"{flag} of {name}() must be {accepts}, not {errors.shown(value)}{hint}"
    )


def _is_scalar_of_bool(value: Any) -> bool:
    """Whether it is a truth of NumPy or torch."""
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return dtype == "bool" and getattr(value, "ndim", 0) == 0
