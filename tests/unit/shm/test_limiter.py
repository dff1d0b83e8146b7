"""shm.limiter: counts in windows, gauges, eviction; against a plain dictionary."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shm.limiter import WAYS, WINDOW_BUCKETS, LimiterSlabs, limiter_size

NOW = 1_000_000.0


def workers(count: int) -> list[LimiterSlabs]:
    limiter = LimiterSlabs.private(count)
    return [limiter.writer(n) for n in range(count)]


def same_bucket(limiter: LimiterSlabs, count: int) -> list[int]:
    """Keys that live in one bucket, for windows of 60 s."""
    groups: dict[int, list[int]] = {}
    key = 0
    while True:
        key += 1
        place = limiter._place(key, 60.0)[1]
        group = groups.setdefault(place, [])
        group.append(key)
        if len(group) == count:
            return group


def test_count_is_the_sum_over_all_workers():
    first, second, third = workers(3)
    first.add(7, NOW, 60.0)
    second.add(7, NOW, 60.0, 4)
    assert [limiter.count(7, NOW, 60.0) for limiter in (first, second, third)] == [5, 5, 5]
    assert third.count(8, NOW, 60.0) == 0


def test_window_ends():
    (limiter,) = workers(1)
    start = NOW // 60 * 60
    limiter.add(7, start + 59.9, 60.0)
    assert limiter.count(7, start + 59.99, 60.0) == 1
    assert limiter.count(7, start + 60.0, 60.0) == 0
    limiter.add(7, start + 60.0, 60.0)
    assert limiter.count(7, start + 61.0, 60.0) == 1


def test_one_key_may_be_counted_in_windows_of_several_lengths():
    (limiter,) = workers(1)
    for n in range(3):
        limiter.add(7, NOW + n * 60, 60.0)
        limiter.add(7, NOW + n * 60, 86_400.0)
    assert limiter.count(7, NOW + 120, 60.0) == 1
    assert limiter.count(7, NOW + 120, 86_400.0) == 3


def test_full_bucket_loses_an_ended_window_first_then_the_longest_untouched():
    (limiter,) = workers(1)
    start = NOW // 60 * 60
    keys = same_bucket(limiter, WAYS + 3)
    limiter.add(keys[0], start - 30, 60.0)  # has ended
    for n, key in enumerate(keys[1:WAYS]):
        limiter.add(key, start + n, 60.0)
    limiter.add(keys[1], start + 20, 60.0)  # touched again
    now = start + 30
    limiter.add(keys[WAYS], now, 60.0)
    assert [limiter.count(key, now, 60.0) for key in keys[: WAYS + 1]] == [0, 2] + [1] * (WAYS - 1)
    limiter.add(keys[WAYS + 1], now, 60.0)
    assert limiter.count(keys[2], now, 60.0) == 0
    assert limiter.count(keys[1], now, 60.0) == 2


def test_memory_is_fixed_however_many_keys_there_are():
    (limiter,) = workers(1)
    for key in range(1, 3 * WAYS * WINDOW_BUCKETS):
        limiter.add(key * 2_654_435_761, NOW, 60.0)
    counted = sum(limiter.count(key * 2_654_435_761, NOW, 60.0) for key in range(1, 3 * WAYS * WINDOW_BUCKETS))
    assert 0.9 * WAYS * WINDOW_BUCKETS < counted <= WAYS * WINDOW_BUCKETS


def test_gauges_add_up_and_do_not_go_below_zero():
    first, second = workers(2)
    first.gauge(7, 1)
    first.gauge(7, 1)
    second.gauge(7, 1)
    assert second.gauge_total(7) == 3
    first.gauge(7, -5)
    second.gauge(8, -1)
    assert (first.gauge_total(7), first.gauge_total(8)) == (1, 0)


def test_gauges_of_a_dead_worker_are_cleared_and_its_counts_stay():
    first, second = workers(2)
    for limiter in (first, second):
        limiter.gauge(7, 2)
        limiter.add(7, NOW, 60.0)
    second.clear_gauges(0)
    assert second.gauge_total(7) == 2
    assert second.count(7, NOW, 60.0) == 2


def test_slabs_beyond_the_highest_in_use_are_not_read():
    limiter = LimiterSlabs(memoryview(bytearray(limiter_size(3))))
    last = limiter.writer(2)
    last.add(7, NOW, 60.0)
    assert limiter.count(7, NOW, 60.0) == 0
    limiter.use(2)
    assert limiter.count(7, NOW, 60.0) == 1


def test_bucket_of_a_key_differs_from_start_to_start():
    places = {workers(1)[0]._place(7, 60.0)[1] for _ in range(8)}
    assert len(places) > 1


def test_any_key_of_64_bits_can_be_counted():
    (limiter,) = workers(1)
    for key in (0, 1, (1 << 64) - 1, 1 << 63):
        limiter.add(key, NOW, 60.0)
        assert limiter.count(key, NOW, 60.0) == 1
        limiter.gauge(key, 1)
    assert limiter.gauge_total((1 << 64) - 1) == 1


KEYS = st.integers(1, 13)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 1), KEYS, st.floats(0, 30)),
        st.tuples(st.just("gauge"), st.integers(0, 1), KEYS, st.sampled_from([1, -1])),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_few_keys_are_counted_exactly_as_a_dictionary_would(steps):
    pair = workers(2)
    counts: Counter[tuple[int, float]] = Counter()
    gauges: Counter[tuple[int, int]] = Counter()
    now = NOW
    for kind, worker, key, value in steps:
        if kind == "add":
            now += value
            pair[worker].add(key, now, 60.0)
            counts[key, now // 60] += 1
        else:
            pair[worker].gauge(key, value)
            gauges[worker, key] = max(0, gauges[worker, key] + value)
    for key in range(1, 14):
        assert pair[0].count(key, now, 60.0) == counts[key, now // 60]
        assert pair[1].gauge_total(key) == gauges[0, key] + gauges[1, key]


def test_released_limiter_lets_go_of_its_memory():
    backing = bytearray(limiter_size(1))
    memory = memoryview(backing)
    limiter = LimiterSlabs(memory)
    limiter.release()
    memory.release()
    backing.extend(b"x")  # BufferError if any view were left
