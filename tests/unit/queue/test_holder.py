"""Who holds a lease, and whether he is still there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from echomox.queue.holder import holder_name, is_gone


def test_this_process_is_here():
    assert not is_gone(holder_name("queuerunner.0"))


def test_a_process_that_ended_is_gone():
    code = "from echomox.queue.holder import holder_name; print(holder_name('w.0'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_gone(done.stdout.strip())


@pytest.mark.parametrize("change", [("-", "-9"), (f"-{os.getpid()}-", f"-{os.getpid()}-1")])
def test_a_number_given_again_is_another_process(change):
    assert is_gone(holder_name("w.0").replace(*change))


@pytest.mark.parametrize("name", ["", "w", "w-", "w-x-y-z", "w-1-1-1"])
def test_a_name_that_is_none_is_gone(name):
    assert is_gone(name)
