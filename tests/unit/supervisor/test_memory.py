"""Giving memory back: what a process has written stays, its libraries still work, and it takes next to nothing.

How much goes depends on who else has the same files mapped, so that is no matter of a test.
"""

import os
import subprocess
import sys

CODE = """
import hashlib, numpy, sys
from echomox.supervisor.memory import give_back, pss
import os
written = bytearray(os.urandom(1 << 20))
digest = hashlib.sha256(written).digest()
before = pss(os.getpid())
give_back()
after = pss(os.getpid())
assert hashlib.sha256(written).digest() == digest
assert numpy.arange(10).sum() == 45
print(before, after)
"""


def test_nothing_is_lost_and_all_still_works():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after < before + (1 << 20)
