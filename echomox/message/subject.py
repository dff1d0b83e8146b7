"""The base subject, by which messages are sorted and put together into threads. RFC 5256 2.1.

What mail programs put around a subject goes: "Re:" and "Fwd:" with and without "[list]" or a count, "(fwd)" at the
end, "[Fwd: ...]" around it. Linear in the length of the subject, but for a few repetitions that each take something
away; a subject of more than LONGEST characters is cut before.
"""

from __future__ import annotations

import re

LONGEST = 2000
_SPACE = re.compile(r"[ \t\r\n]+")
_TRAILER = re.compile(r"(?:\(fwd\)| )+\Z", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*\] *"
_LEADER = re.compile(rf"(?:(?:{_BLOB})*(?:re|fwd?) *(?:{_BLOB})?:| )+", re.IGNORECASE)
_ONE_BLOB = re.compile(_BLOB)


def base_subject(subject: str) -> tuple[str, bool]:
    """(base subject in upper case, whether something said that it is a reply or forwarded). subject: decoded."""
    text = _SPACE.sub(" ", subject[:LONGEST])
    reply = False
    while True:
        shorter, marked = _strip(text)
        reply = reply or marked
        if not (shorter[:5].lower() == "[fwd:" and shorter.endswith("]")):  # subj-fwd-hdr, subj-fwd-trl
            return shorter.upper(), reply
        text, reply = shorter[5:-1], True


def _strip(text: str) -> tuple[str, bool]:
    """Steps 2 to 5."""
    reply = False
    trailer = _TRAILER.search(text)
    if trailer is not None:
        reply = len(trailer[0].strip()) > 0
        text = text[: trailer.start()]
    while True:
        leader = _LEADER.match(text)
        if leader is not None:
            reply = reply or ":" in leader[0]
            text = text[leader.end() :]
        blob = _ONE_BLOB.match(text)
        if blob is not None and blob.end() < len(text):
            text = text[blob.end() :]
        elif leader is None:
            return text, reply
