"""The bytes of one message as clients see them: the recipient's trace headers from the index, then the file as
received.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from echomox.store.engine import StoreError

WHOLE_READ = 256 << 10


class FileContent:
    """Opens the file at the first read that needs it. Raises StoreError when the file is missing or shorter than it
    should be.
    """

    __slots__ = ("_descriptor", "_path", "_prefix", "prefix_size", "size")

    def __init__(self, path: str, prefix: bytes, file_size: int) -> None:
        self._path = path
        self._prefix = prefix
        self._descriptor = -1
        self.prefix_size = len(prefix)
        self.size = len(prefix) + file_size

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """At most `length` bytes from `offset`; fewer at the end."""
        end = self.size if length is None else min(self.size, offset + length)
        if offset >= end:
            return b""
        head = self.prefix_size
        if end <= head:
            return self._prefix[offset:end]
        start = max(offset - head, 0)
        data = self._read_file(start, end - head - start)
        return self._prefix[offset:] + data if offset < head else data

    def _read_file(self, start: int, length: int) -> bytes:
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise StoreError("the message's file is missing") from error
        data = os.pread(self._descriptor, length, start)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), start + len(data))
            if not more:
                raise StoreError("the message's file is too short")
            data += more
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def text_reader(path: str, size: int) -> Callable[[int, int], bytes]:
    """(offset, length) -> bytes of a message file: a small one is read at once. A file that is not as it should be
    raises StoreError."""
    if size > WHOLE_READ:
        return FileContent(path, b"", size).read
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StoreError("the message's file is missing") from error
    try:
        whole = os.read(descriptor, size)
    finally:
        os.close(descriptor)
    if len(whole) < size:
        raise StoreError("the message's file is too short")
    return lambda offset, length: whole[offset : offset + length]
