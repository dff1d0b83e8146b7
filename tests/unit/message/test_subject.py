"""RFC 5256 2.1: base subjects."""

from __future__ import annotations

import pytest

from echomox.message.subject import LONGEST, base_subject


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("", "", False),
        ("Hello", "HELLO", False),
        ("  Hello \t there  ", "HELLO THERE", False),
        ("Re: Hello", "HELLO", True),
        ("re:re: RE :Hello", "HELLO", True),
        ("Fwd: Hello", "HELLO", True),
        ("FW: Hello (fwd)", "HELLO", True),
        ("Hello (FWD) (fwd) ", "HELLO", True),
        ("Re[2]: Hello", "HELLO", True),
        ("Re [3] : Hello", "HELLO", True),
        ("[list] Re: Hello", "HELLO", True),
        ("[list] Hello", "HELLO", False),
        ("[one] [two] Hello", "HELLO", False),
        ("[one] Re: [two] fwd: Hello", "HELLO", True),
        ("[alone]", "[ALONE]", False),
        ("Re: [alone]", "[ALONE]", True),
        ("[Fwd: Hello]", "HELLO", True),
        ("[fwd: Re: [list] Hello (fwd)]", "HELLO", True),
        ("[Fwd: [Fwd: Hello]]", "HELLO", True),
        ("Re:", "", True),
        ("Reply to you", "REPLY TO YOU", False),
        ("Regarding: x", "REGARDING: X", False),
        ("Grüße", "GRÜSSE", False),
        ("[unclosed Hello", "[UNCLOSED HELLO", False),
    ],
)
def test_base_subjects(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


@pytest.mark.parametrize("text", ["[a]", "re:", "[", "re [", "[Fwd:", " ", "re[a]", "(fwd) "])
def test_hostile_subjects_end(text: str) -> None:
    """Ends at all: what is quadratic in 100,000 characters, or worse, does not."""
    base, _ = base_subject(text * 30_000)
    assert len(base) <= LONGEST
