"""PLAIN (RFC 4616): one response of authorization identity, NUL, name, NUL, password."""

from __future__ import annotations

from echomox.sasl.values import (
    Challenge,
    CheckPassword,
    Context,
    Lookup,
    Reason,
    Refused,
    Steps,
    check_authzid,
    prepare_name,
)


def plain(lookup: Lookup, context: Context) -> Steps:
    response = yield Challenge(b"")
    fields = response.split(b"\0")
    if len(fields) != 3 or not fields[2]:
        raise Refused(Reason.SYNTAX, detail="not three fields")
    name = prepare_name(fields[1])
    authzid = prepare_name(fields[0]) if fields[0] else ""
    check_authzid(authzid, name)
    try:
        password = fields[2].decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(Reason.SYNTAX, name, "password not UTF-8") from None
    return CheckPassword(authzid, name, password)
