"""Bells, and what idlers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from echomox.imapd.hub import SLICE, Hub
from echomox.store.engine import Changes


class FakeLoop:
    """Callbacks run when told."""

    def __init__(self) -> None:
        self.ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.ready.append((callback, arguments))

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback, arguments in ready:
            callback(*arguments)


class FakeStore:
    def __init__(self) -> None:
        self.highest = 5
        self.asked: list[tuple[int, int]] = []

    def modseq(self) -> int:
        return self.highest

    def changes(self, mailbox_id: int, since: int) -> Changes:
        self.asked.append((mailbox_id, since))
        return Changes(self.highest, [], [])


class FakeBells:
    def __init__(self) -> None:
        self.listening = 0

    def listen(self, account: str, callback: Callable[[int], None]) -> Callable[[], None]:
        self.listening += 1
        return self.quiet

    def quiet(self) -> None:
        self.listening -= 1


class Idler:
    def __init__(self, hub: Hub, told: list[int]) -> None:
        self.hub, self.told = hub, told

    def poke(self, modseq: int) -> None:
        self.told.append(id(self))
        self.hub.changes(1, 5, modseq)


def make() -> tuple[Hub, FakeLoop, FakeStore, FakeBells]:
    loop, store, bells = FakeLoop(), FakeStore(), FakeBells()
    return Hub("a", store, bells, loop), loop, store, bells  # type: ignore[arg-type]


def test_many_bells_are_one_look_and_all_idlers_share_it() -> None:
    hub, loop, store, _ = make()
    told: list[int] = []
    idlers = [Idler(hub, told) for _ in range(3)]
    for idler in idlers:
        hub.join(idler)
    store.highest = 7
    for modseq in (6, 7, 0):
        hub.bell(modseq)
    loop.turn()
    assert told == [id(idler) for idler in idlers]  # in the order in which they began to wait
    assert store.asked == [(1, 5)]
    assert hub.kept is None and not loop.ready


def test_a_bell_for_what_is_known_costs_nothing() -> None:
    hub, loop, store, _ = make()
    told: list[int] = []
    hub.join(Idler(hub, told))
    hub.bell(5)
    assert not loop.ready
    hub.bell(0)
    loop.turn()
    assert not told and not store.asked


def test_many_idlers_do_not_hold_up_the_loop() -> None:
    hub, loop, store, _ = make()
    told: list[int] = []
    for _ in range(2 * SLICE + 1):
        hub.join(Idler(hub, told))
    store.highest = 6
    hub.bell(6)
    loop.turn()
    assert len(told) == SLICE
    loop.turn()
    loop.turn()
    assert len(told) == 2 * SLICE + 1 and len(store.asked) == 1


def test_one_who_leaves_meanwhile_is_not_poked() -> None:
    hub, loop, store, _ = make()
    told: list[int] = []
    idlers = [Idler(hub, told) for _ in range(SLICE + 1)]
    for idler in idlers:
        hub.join(idler)
    store.highest = 6
    hub.bell(6)
    loop.turn()
    hub.leave(idlers[-1])
    loop.turn()
    assert len(told) == SLICE


def test_bells_are_listened_to_while_somebody_waits() -> None:
    hub, _, _, bells = make()
    one, two = Idler(hub, []), Idler(hub, [])
    hub.join(one)
    hub.join(two)
    assert bells.listening == 1
    hub.leave(one)
    assert bells.listening == 1
    hub.leave(two)
    hub.leave(two)
    assert bells.listening == 0


def test_after_trouble_the_next_poll_looks_again() -> None:
    hub, loop, store, _ = make()
    told: list[int] = []
    hub.join(Idler(hub, told))
    store.highest = 6
    hub.bell(6)
    loop.turn()
    hub.look_again()
    hub.bell(0)
    loop.turn()
    assert len(told) == 2
