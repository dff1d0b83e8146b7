"""Return addresses of mail that is sent on: there and back, forged, old, long; the key file."""

from __future__ import annotations

import os
import threading

import pytest

from echomox.delivery.srs import DAY, FILE, NotSrs, Srs, TooLong, is_srs, load_keys, timestamp

NOW = 1_700_000_000.0
OURS, SECOND, THIRD = (Srs((letter * 32,)) for letter in (b"a", b"b", b"c"))


def local(address: str) -> str:
    return address.rpartition("@")[0]


@pytest.mark.parametrize(
    "sender",
    [
        "user@example.org",
        "a.b+c=d@sub.example.org",
        "u-s_r@b\u00fccher.example",
        '"odd one"@example.org',
        "x@[192.0.2.1]",
    ],
)
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_there_and_back_in_any_case(sender, change):
    rewritten = OURS.rewrite(sender, "ours.test", NOW)
    assert rewritten.endswith("@ours.test") and is_srs(local(rewritten)) and len(local(rewritten).encode()) <= 64
    assert OURS.undo(change(local(rewritten)), NOW) == change(sender)


def test_the_null_sender_stays_null():
    assert OURS.rewrite("", "ours.test", NOW) == ""


def test_a_second_and_a_third_server_shorten_to_srs1():
    first = OURS.rewrite("user@example.org", "ours.test", NOW)
    second = SECOND.rewrite(first, "second.test", NOW)
    third = THIRD.rewrite(second, "third.test", NOW)
    assert second.startswith("SRS1=") and third.startswith("SRS1=")
    # each goes back to the first one at once, who alone knows the sender
    assert SECOND.undo(local(second), NOW) == first
    assert THIRD.undo(local(third), NOW) == first
    assert OURS.undo(local(first), NOW) == "user@example.org"


@pytest.mark.parametrize("days,good", [(0, True), (1, True), (21, True), (22, False), (500, False), (1023, True)])
def test_it_is_good_for_21_days(days, good):
    """1,023 days on are one day before, modulo 1,024: a clock that is behind."""
    rewritten = local(OURS.rewrite("user@example.org", "ours.test", NOW))
    if good:
        assert OURS.undo(rewritten, NOW + days * DAY) == "user@example.org"
    else:
        with pytest.raises(NotSrs, match="old"):
            OURS.undo(rewritten, NOW + days * DAY)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("user", "root"),
        lambda text: text.replace("example.org", "example.net"),
        lambda text: text[:5] + "AAAAAAAA" + text[13:],
        lambda text: text[:5] + "=" + text[14:],
        lambda text: text.replace("=" + timestamp(NOW) + "=", "=" + timestamp(NOW + DAY) + "="),
        lambda text: "SRS0=",
        lambda text: "SRS0====",
        lambda text: "SRS0=a=b",
        lambda text: "SRS1=aaaaaaaa=example.org",
        lambda text: "SRS2" + text[4:],
        lambda text: "user",
        lambda text: "",
        lambda text: "SRS0=\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9=AA=example.org=user",
    ],
)
def test_what_we_did_not_sign_is_nobodys(change):
    rewritten = local(OURS.rewrite("user@example.org", "ours.test", NOW))
    with pytest.raises(NotSrs):
        OURS.undo(change(rewritten), NOW)
    with pytest.raises(NotSrs):
        SECOND.undo(rewritten, NOW)


@pytest.mark.parametrize("sender", ["x" * 50 + "@a.example", "u@" + "y" * 60 + ".example"])
def test_a_local_part_of_more_than_64_octets_is_not_made(sender):
    with pytest.raises(TooLong):
        OURS.rewrite(sender, "ours.test", NOW)


@pytest.mark.parametrize("sender", ["user", "@", "user@", "@example.org", "SRS1=x=@b.example"])
def test_what_is_no_address_is_an_error(sender):
    with pytest.raises(ValueError):
        OURS.rewrite(sender, "ours.test", NOW)


def test_old_keys_stay_good_and_the_first_signs():
    both = Srs((b"n" * 32, b"a" * 32))
    old = local(OURS.rewrite("user@example.org", "ours.test", NOW))
    new = local(both.rewrite("user@example.org", "ours.test", NOW))
    assert both.undo(old, NOW) == both.undo(new, NOW) == "user@example.org"
    with pytest.raises(NotSrs):
        OURS.undo(new, NOW)


def test_the_key_is_made_once_though_many_ask(tmp_path):
    found: list[str] = []

    def ask() -> None:
        found.append(load_keys(tmp_path).rewrite("u@example.org", "ours.test", NOW))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 8
    assert os.listdir(tmp_path) == [FILE] and (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"zz\n", b"abcd\n", b"\xff\xfe", b"00" * 32 + b"\nnonsense\n"])
def test_a_key_file_without_keys_is_an_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match="holds no keys"):
        load_keys(tmp_path)
