"""The standard library's parser (compat32) as an oracle: for well-formed messages the parts are the same."""

import email
import email.policy
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.message.mime import parse
from echomox.message.text import decode_bytes, decode_part

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=200)


@st.composite
def leaves(draw):
    part = EmailMessage(email.policy.SMTP)
    if draw(st.booleans()):
        text = draw(TEXT)
        encoding = draw(st.sampled_from(("quoted-printable", "base64", "8bit")))
        part.set_content(text + "\n", subtype=draw(st.sampled_from(("plain", "html", "csv"))), cte=encoding)
    else:
        data = draw(st.binary(max_size=200))
        part.set_content(data, "application", "octet-stream", filename=draw(st.sampled_from(("a.bin", "ä b.bin"))))
    return part


def multiparts(children):
    @st.composite
    def build(draw):
        part = EmailMessage(email.policy.SMTP)
        getattr(part, draw(st.sampled_from(("make_mixed", "make_alternative", "make_related"))))()
        part.preamble = draw(st.sampled_from((None, "preamble\r\n")))
        part.epilogue = draw(st.sampled_from((None, "epilogue\r\n")))
        for child in draw(st.lists(children, min_size=1, max_size=3)):
            if draw(st.booleans()):
                outer = EmailMessage(email.policy.SMTP)
                child["Subject"] = "enclosed"
                outer.set_content(child)
                child = outer
            part.attach(child)
        return part

    return build()


MESSAGES = st.recursive(leaves(), multiparts, max_leaves=6)


def walk(message, prefix=""):
    """(path, part) as IMAP numbers them, from the library's tree; prefix: "" or "path." of what encloses it."""
    if message.get_content_maintype() != "multipart":
        yield from walk_part(message, f"{prefix}1")
        return
    if not prefix:
        yield "", message
    for number, child in enumerate(message.get_payload(), 1):
        yield from walk_part(child, f"{prefix}{number}")


def walk_part(part, path):
    yield path, part
    if part.get_content_maintype() == "multipart":
        for number, child in enumerate(part.get_payload(), 1):
            yield from walk_part(child, f"{path}.{number}")
    elif part.get_content_type() == "message/rfc822":
        yield from walk(part.get_payload(0), f"{path}.")


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_parts_are_those_of_the_standard_library(message):
    data = message.as_bytes(policy=email.policy.SMTP)
    oracle = email.message_from_bytes(data)
    structure = parse(data)
    theirs = list(walk(oracle))
    assert [(part.path, part.content_type) for part in structure.parts] == [
        (path, part.get_content_type()) for path, part in theirs
    ]
    for ours, (_, part) in zip(structure.parts, theirs):
        if part.is_multipart():
            continue
        assert decode_bytes(ours, data) == part.get_payload(decode=True)
        if ours.content_type.startswith("text/"):
            assert decode_part(ours, data) == part.get_payload(decode=True).decode(ours.charset)
        else:
            assert ours.filename == part.get_filename()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200))
def test_subjects_are_those_that_were_written(subject):
    message = EmailMessage(email.policy.SMTP)
    message["Subject"] = subject
    data = message.as_bytes()
    assert " ".join(parse(data).subject.split()) == " ".join(subject.split())
