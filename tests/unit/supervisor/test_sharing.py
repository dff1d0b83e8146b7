"""What keeps pages shared after a fork: holes that are filled, spans that may be given back."""

import ctypes
import mmap
import os
import subprocess
import sys

import pytest

from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.supervisor import crew as crews
from echomox.supervisor.fork import TOLD, fork, fork_all, prepare
from echomox.supervisor.holes import Holes, in_row
from echomox.supervisor.memory import PAGE, give_back_zeros, pss, unchanged
from echomox.supervisor.service import Service, Table, User
from echomox.supervisor.shared import make_shared

SMAPS = b"""\
7f0000000000-7f0000010000 %s 00000000 fe:00 29734                      %s
Size:                 64 kB
Rss:                  64 kB
Anonymous:             %s kB
AnonHugePages:         0 kB
Swap:                  %s kB
SwapPss:               0 kB
VmFlags: rd ex mr mw me sd
"""


@pytest.mark.parametrize(
    "rights, name, anonymous, swap, given",
    [
        (b"r-xp", b"/usr/lib/lib one.so", b"0", b"0", True),
        (b"r--p", b"/usr/lib/one.so", b"0", b"0", True),
        (b"r--p", b"/usr/lib/one.so", b"4", b"0", False),  # filled in by the loader, then protected
        (b"r--p", b"/usr/lib/one.so", b"0", b"4", False),  # the same, and swapped out
        (b"rw-p", b"/usr/lib/one.so", b"0", b"0", False),
        (b"rw-s", b"/dev/shm/one", b"0", b"0", False),
        (b"r--s", b"/data/index", b"0", b"0", False),
        (b"r-xp", b"[vdso]", b"0", b"0", False),
        (b"rw-p", b"", b"0", b"0", False),
    ],
)
def test_only_what_is_as_its_file_is_given_back(rights, name, anonymous, swap, given):
    smaps = (SMAPS % (rights, name, anonymous, swap)).splitlines()
    assert list(unchanged(smaps)) == ([(0x7F0000000000, 0x7F0000010000)] if given else [])


def test_spans_of_this_process_are_those_of_its_maps():
    with open("/proc/self/smaps", "rb") as smaps:
        found = list(unchanged(smaps))
    assert len(found) > 10
    assert all(start < end and start % PAGE == end % PAGE == 0 for start, end in found)


def test_zeros_are_given_back_and_what_is_written_stays():
    memory = mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = bytes(8 * PAGE)
    memory[3 * PAGE + 5] = 7
    anchor = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(anchor)
    assert give_back_zeros(address + 1, 7 * PAGE - 2) == 4 * PAGE  # pages 1, 2, 4 and 5: 0 and 6 not as a whole
    assert memory[3 * PAGE + 5] == 7
    assert sum(memory[:]) == 7
    del anchor
    memory.close()


def test_pss_of_a_process_that_is_not_there():
    assert pss(1 << 30) is None
    assert (pss(os.getpid()) or 0) > 1 << 20


@pytest.mark.parametrize("addresses, found", [([], 0), ([16], 0), ([16, 48, 80, 16, 49], 2), ([80, 48, 16], 0)])
def test_blocks_that_touch_are_counted(addresses, found):
    assert in_row(addresses, 32, 32) == found


HOLES = """
import gc
from itertools import repeat
from echomox.supervisor.holes import Holes, in_row
kept = [list(map(bytes, repeat(30, 20_000)))]
kept = [kept[0][::2]]
gc.collect()
holes = Holes()
def scattered():
    made = list(map(bytes, repeat(30, 100)))
    return in_row(map(id, made), 64, 64)
before = scattered()
holes.fill()
filled = scattered()
holes.open()
opened = scattered()
print(before, filled, opened)
"""


def test_filled_holes_are_not_taken_and_opened_ones_are():
    """In a process of its own: a hole is a matter of all that has been allocated."""
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, filled, opened = map(int, done.stdout.split())
    assert before < 50
    assert filled > 90
    assert opened < 90


def test_filling_again_takes_no_more():
    holes = Holes()
    counts = []
    for _ in range(3):
        holes.open()
        holes.fill()
        counts.append(sum(map(len, holes._objects)) + len(holes._blocks))
    holes.open()
    assert counts[2] < counts[0] * 2 + 20_000


def test_a_fork_that_fails_is_told_of_and_the_others_are_made(monkeypatch):
    real, calls = os.fork, []

    def fork():
        calls.append(1)
        if len(calls) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    first, second, third = fork_all(os._exit, [3, 4, 5])
    assert isinstance(second, BlockingIOError)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (first, third)]
    assert codes == [3, 5]


def full_disk(static, paths):
    raise OSError(28, "No space left on\ndevice", "x" * 2 * TOLD)


@pytest.mark.parametrize(
    "body, begin", [("full_disk", b"OSError: [Errno 28] No space left on device: "), ("none", b"AttributeError: ")]
)
def test_a_preparation_that_fails_says_why_in_one_line(tmp_path, body, begin):
    told, tell = os.pipe()
    user = User(os.geteuid(), os.getegid(), "me")
    pid = fork(lambda: prepare(f"{__name__}:{body}", Static(), Paths.home(tmp_path), user, tell))
    os.close(tell)
    with open(told, "rb") as reasons:
        said = reasons.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 70
    assert said.startswith(begin) and said.count(b"\n") == 0 and len(said) <= TOLD


@pytest.mark.parametrize("count, happened", [(3, ["settled", 3]), (1, [1])])
def test_heap_is_tidied_up_when_a_round_is_made_and_before_its_first_fork(tmp_path, monkeypatch, count, happened):
    seen: list[object] = []

    def not_forked(entry, launches):
        seen.append(len(launches))
        return [OSError("no more processes") for _ in launches]

    monkeypatch.setattr(crews, "fork_all", not_forked)
    table = Table((Service("one", "x:run", count=lambda static, cores: count),), sys.exit)
    shared = make_shared(8, 2)
    try:
        crew = crews.Crew(table, shared, Paths.home(tmp_path), User(os.geteuid(), os.getegid(), "me"))
        crew.settle = lambda: seen.append("settled")
        crew.plan({"one": count})
        crew.start_due(Static(), lambda service, index: {})
        assert seen == happened
        del crew
    finally:
        shared.close()
