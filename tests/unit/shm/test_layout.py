"""shm.layout: offsets and the two-slot publication."""

from __future__ import annotations

import pytest

from shm.layout import (
    READ_ATTEMPTS,
    TooLarge,
    TornRead,
    TwoSlot,
    align,
    cells_of,
    offsets,
    publication_size,
)


def publication(capacity: int = 100) -> tuple[TwoSlot, memoryview]:
    memory = memoryview(bytearray(publication_size(capacity)))
    return TwoSlot(memory), memory


@pytest.mark.parametrize("size, unit, expected", [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16), (1, 4096, 4096)])
def test_align(size, unit, expected):
    assert align(size, unit) == expected


def test_offsets_count_cells():
    names = ("a", "b:3", "c")
    assert offsets(names) == {"a": 0, "b": 1, "c": 4}
    assert cells_of(names) == 5


def test_nothing_is_published_at_first():
    slots, _ = publication()
    assert (slots.generation, slots.read()) == (0, (0, b""))


def test_each_publication_replaces_the_one_before():
    slots, _ = publication()
    for generation in range(1, 8):
        data = bytes([generation]) * (generation * 10)
        assert slots.publish(data) == generation
        assert slots.generation == generation
        assert slots.read() == (generation, data)


def test_whole_capacity_fits_and_no_more():
    slots, _ = publication(100)
    assert slots.capacity == 104
    slots.publish(b"x" * 104)
    with pytest.raises(TooLarge, match="105 bytes; a slot holds 104"):
        slots.publish(b"x" * 105)
    assert slots.read() == (1, b"x" * 104)


def test_reader_of_the_same_memory_sees_what_the_writer_published():
    writer, memory = publication()
    reader = TwoSlot(memory)
    writer.publish(b"weights")
    assert reader.read() == (1, b"weights")


def test_writer_that_dies_half_way_leaves_the_published_generation():
    writer, memory = publication()
    writer.publish(b"good")
    slot = memory[64 : 64 + writer.capacity]  # generation 2 stands in slot 0
    memory[8:16] = bytes(8)
    slot[:3] = b"hal"
    assert TwoSlot(memory).read() == (1, b"good")
    assert TwoSlot(memory).publish(b"next") == 2
    assert TwoSlot(memory).read() == (2, b"next")


def test_damaged_data_is_never_given_out(monkeypatch):
    slots, memory = publication()
    slots.publish(b"good")
    memory[64 + slots.capacity] ^= 1  # generation 1 stands in slot 1
    monkeypatch.setattr("shm.layout.READ_ATTEMPTS", 10)
    with pytest.raises(TornRead):
        slots.read()
    assert READ_ATTEMPTS > 10


def test_length_beyond_the_slot_is_not_believed(monkeypatch):
    slots, memory = publication()
    slots.publish(b"good")
    memory[5 * 8 : 6 * 8] = (1 << 60).to_bytes(8, "little")
    monkeypatch.setattr("shm.layout.READ_ATTEMPTS", 10)
    with pytest.raises(TornRead):
        slots.read()


def test_released_memory_can_be_closed():
    backing = bytearray(publication_size(10))
    memory = memoryview(backing)
    slots = TwoSlot(memory)
    slots.release()
    memory.release()
    backing.extend(b"x")  # BufferError if any view were left


def test_a_view_is_good_until_the_next_but_one_publication():
    writer, memory = publication()
    reader = TwoSlot(memory)
    assert reader.view()[0] == 0 and len(reader.view()[1]) == 0
    writer.publish(b"first")
    generation, data = reader.view()
    assert (generation, bytes(data), reader.intact(generation)) == (1, b"first", True)
    assert data.readonly
    writer.publish(b"second")
    assert bytes(data) == b"first" and reader.intact(generation)
    writer.publish(b"third")
    assert not reader.intact(generation)
    assert bytes(reader.view()[1]) == b"third"
