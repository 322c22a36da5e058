"""What a child process makes anew after a fork.

A fork copies the memory of a process but only one of its threads. gRPC's channels do not work in
the child, because the threads that serve them are gone, and a lock that another thread held stays
locked for ever. So whatever has a channel or a lock registers here, and begins afresh in the child.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Protocol


class Renewable(Protocol):
    """Something that does not survive a fork as it is."""

    def _after_fork(self) -> None:
        """Called in the child, before anything else runs there."""


_registered: weakref.WeakSet[Any] = weakref.WeakSet()


def register(one: Renewable) -> None:
    """Lets an object begin afresh in child processes, for as long as it lives."""
    _registered.add(one)


def keep(*inherited: Any) -> None:
    """Keeps objects of gRPC that came from the parent until this process ends.

    To destroy one would close a socket that the parent still uses.
    """
    for one in inherited:
        # A list would be emptied when the interpreter ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _in_child() -> None:
    for one in list(_registered):
        one._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
