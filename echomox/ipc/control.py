"""Asking the control worker from within another worker: one JSON object a line (see `workers.control`)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from echomox.ipc.unix import dial

TIMEOUT = 10.0  # seconds
ANSWER = 1024 * 1024  # bytes


class ControlError(Exception):
    """Not done; str() says why."""


async def perform(path: Path, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    """path: of control.sock. The answer without "ok"."""
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(sock=dial(path), limit=ANSWER)
            try:
                writer.write(json.dumps({**fields, "op": op}).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, ValueError):  # TimeoutError is an OSError
        raise ControlError("the control process does not answer") from None
    if not isinstance(answer, dict) or not answer.pop("ok", False):
        raise ControlError(str(answer.get("error", "refused") if isinstance(answer, dict) else "refused"))
    return answer
