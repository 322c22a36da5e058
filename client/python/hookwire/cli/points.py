"""Hook points as users name them."""

from __future__ import annotations

from typing import Any

import click


def not_empty(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuses an empty filter, or one of several that is empty.

    Raises:
        BadParameter: it says what a filter is.
    """
    for one in value if isinstance(value, tuple) else (value,):
        if not one.strip():
            raise click.BadParameter(
                'it is empty: give a name, an alias or a glob, such as "blocks.*.hook_resid_post"',
                ctx=context,
                param=parameter,
            )
    return value
