"""LOGIN (draft-murchison-sasl-login): the server asks for name and password, one after the other.

The name may come as initial response; many SMTP clients send it so.
"""

from __future__ import annotations

from echomox.sasl.values import (
    Challenge,
    CheckPassword,
    Context,
    Lookup,
    Reason,
    Refused,
    Steps,
    prepare_name,
)

ASK_NAME = b"Username:"
ASK_PASSWORD = b"Password:"


def login(lookup: Lookup, context: Context) -> Steps:
    first = yield Challenge(b"")
    name = prepare_name(first or (yield Challenge(ASK_NAME)))
    password = yield Challenge(ASK_PASSWORD)
    try:
        return CheckPassword("", name, password.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused(Reason.SYNTAX, name, "password not UTF-8") from None
