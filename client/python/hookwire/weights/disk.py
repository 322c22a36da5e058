"""Parameters that stay on disk from session to session."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import numpy as np

from hookwire import errors
from hookwire.facts.dtypes import BFLOAT16, Array

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE_NAME = re.compile(r"\w[\w.]*")
# What NumPy's files call what NumPy does not know.
_CARRIER = np.dtype("<u2")


def is_digest(text: str) -> bool:
    """Returns whether a text is a digest, and not "pending"."""
    return _DIGEST.fullmatch(text) is not None


class DiskCache:
    """Parameters in files, by digest, dtype and name.

    Any number of processes may share a directory, because a file appears only when it is complete.
    A file that cannot be read counts as missing; one that cannot be written is left out.

    Args:
        directory: where the files are. It is made when the first one is stored.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writable = True

    def _path(self, digest: str, dtype: str, name: str) -> Path | None:
        # Names and digests come from elsewhere, and must stay inside the directory.
        if not is_digest(digest) or not _FILE_NAME.fullmatch(name):
            return None
        return self.directory / digest.removeprefix("sha256:") / dtype / f"{name}.npy"

    def load(self, digest: str, dtype: str, name: str) -> Array | None:
        """Returns a parameter, mapped from its file; None if it is not stored.

        Writing to the array changes this process's copy alone.

        Args:
            digest: the digest of the weights.
            dtype: the dtype, such as "bfloat16".
            name: the full name.
        """
        path = self._path(digest, dtype, name)
        if path is None:
            return None
        try:
            array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if dtype == BFLOAT16.name and array.dtype == _CARRIER:
            array = array.view(BFLOAT16)
        return array if array.dtype.name == dtype else None

    def store(self, digest: str, name: str, array: Array) -> None:
        """Stores a parameter in a file.

        Args:
            digest: the digest of the weights.
            name: the full name.
            array: the parameter.
        """
        path = self._path(digest, array.dtype.name, name)
        if path is None or not self._writable:
            return
        try:
            self._write(path, array)
        except OSError as error:
            # A full or read-only disk costs speed, no more; once said, it is not tried again.
            self._writable = False
            errors.warn(f"weights are not kept on disk: {error}", errors.HookwireWarning)

    def _write(self, path: Path, array: Array) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, array.view(_CARRIER) if array.dtype == BFLOAT16 else array)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def disk_cache(choice: bool | str | os.PathLike[str]) -> DiskCache | None:
    """Returns the disk cache that `connect(cache_weights=…)` asks for; None without one.

    Args:
        choice: True for the user's cache directory, False for none, or a directory.

    Raises:
        ArgumentTypeError: something else.
    """
    if choice is False:
        return None
    if choice is not True:
        if not isinstance(choice, (str, os.PathLike)) or not str(choice):
            raise errors.ArgumentTypeError(
                "cache_weights must be True, False or a directory, not " + errors.shown(choice)
            )
        return DiskCache(Path(choice))
    base = os.environ.get("XDG_CACHE_HOME")
    return DiskCache((Path(base) if base else Path.home() / ".cache") / "hookwire" / "weights")
