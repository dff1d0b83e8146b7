"""Programs that the interop tests drive: missing ones are a skip on a laptop and a failure under CI=true."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def need(program: str) -> str:
    """The program's path, or a skip; under CI=true a failure."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed; see tests/apt.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def run(command: Sequence[str | Path], stdin: bytes | None = None, timeout: float = 60, **more: object) -> str:
    """Runs to the end; returns standard output and error; fails the test on another exit status than 0."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, **more)  # type: ignore[call-overload]
    text: str = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{text}"
    return text
