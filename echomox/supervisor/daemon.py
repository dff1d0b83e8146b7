"""Into the background: the command returns when the server is READY, or says why it is not.

Twice forked, so that the server belongs to no terminal and is nobody's child. What happens at the start
comes back to the command through a pipe: the word READY, or an exit code and a text.
"""

from __future__ import annotations

import os
import select
import sys
import time

START_LIMIT = 60.0  # seconds the command waits
READY = "READY"


class Report:
    """The server's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        self._send(READY)

    def failed(self, code: int, text: str) -> None:
        self._send(f"{code} {text}")

    def _send(self, text: str) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, text.encode("utf-8", "replace"))
        except OSError:
            pass  # the command was interrupted; the server goes on
        os.close(self._descriptor)
        self._descriptor = -1


def daemonize() -> Report | int:
    """In the new background process: its Report. In the command that was called: the reading end for
    `await_start`.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        return reader
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(reader)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return Report(writer)


def await_start(reader: int, limit: float = START_LIMIT) -> tuple[int, str]:
    """(exit code, text) of the start: (0, "READY") when all went well."""
    end = time.monotonic() + limit
    text = b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([reader], [], [], left)[0]:
            break
        piece = os.read(reader, 65536)
        if not piece:
            return _judge(text.decode("utf-8", "replace"))
        text += piece
    return (
        1,
        f"not READY after {limit:.0f} s; it goes on trying. `echomox-supervisor status` shows what is missing",
    )


def _judge(text: str) -> tuple[int, str]:
    if text == READY:
        return 0, READY
    code, _, reason = text.partition(" ")
    return (int(code), reason) if code.isdigit() else (1, "the server ended without a word; see its log")
