"""Any bytes as configuration give a Static, a Dynamic, or a ConfigError that names a line: nothing else."""

from __future__ import annotations

import os
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.config.describe import sample_dynamic, sample_static
from echomox.config.load import parse_dynamic, parse_static
from echomox.config.positions import statements
from echomox.config.schema import Dynamic, Static
from echomox.config.snapshot import Recipient, Snapshot, Unknown
from echomox.errors import ConfigError

settings.register_profile("long", max_examples=20_000, deadline=None)
settings.register_profile("short", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

LINE = re.compile(r"[^\n]*\.toml:\d+: ")
SAMPLES = [re.sub(r"^#(?=\w+ = )", "", text, flags=re.M) for text in (sample_static(), sample_dynamic())]
WORDS = [*sorted(set(re.findall(r"[\w.@\"+-]+|[\[\]{}=,#]", "\n".join(SAMPLES)))), "\n", '"""', "'''", "\\", "\x00"]

SOUP = st.lists(st.sampled_from([*WORDS, "\n", " "]), max_size=80).map(" ".join)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with a piece of it replaced."""
    text = draw(st.sampled_from(SAMPLES))
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 40)))
    return text[:start] + draw(SOUP | st.text(max_size=20)) + text[end:]


BYTES = st.one_of(
    st.binary(max_size=400),
    SOUP.map(lambda text: text.encode("utf-8", "surrogatepass")),
    damaged().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=8).map(lambda data: SAMPLES[1].encode() + data),
)


def outcome(parse, data: bytes) -> object:
    try:
        return parse("x.toml", data)
    except ConfigError as error:
        assert all(LINE.match(line) for line in str(error).split("\n")), str(error)
        return None


@given(BYTES)
def test_any_bytes_give_a_static_or_an_error_with_a_line(data: bytes) -> None:
    assert isinstance(outcome(parse_static, data), Static | None)


@given(BYTES)
def test_any_bytes_give_a_dynamic_or_an_error_with_a_line(data: bytes) -> None:
    assert isinstance(outcome(parse_dynamic, data), Dynamic | None)


@given(SOUP | st.text(max_size=200))
def test_statements_have_every_line_of_any_text_once(text: str) -> None:
    lines = [line for item in statements(text) for line in range(item.first, item.last + 1)]
    assert lines == list(range(1, text.count("\n") + 2))


DYNAMIC = '[domains."a.test"]\n[accounts.ann]\naddresses = ["ann@a.test", "@a.test"]\n'
SNAPSHOT = Snapshot(parse_dynamic("x.toml", DYNAMIC.encode()), Static(hostname="mail.a.test"), 1)


@given(st.text(max_size=100) | st.text(max_size=20).map(lambda text: text + "@a.test"))
def test_any_text_as_address_has_an_answer(address: str) -> None:
    assert isinstance(SNAPSHOT.recipient(address), Recipient | Unknown)
    assert SNAPSHOT.login_account(address) in ("ann", None)
    SNAPSHOT.is_local_domain(address)
