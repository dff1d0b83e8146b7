"""EXTERNAL (RFC 4422 appendix A): the client is who its TLS certificate says. One response: the name it wants to
be, or nothing. Which names a certificate stands for is in `Context.certificate`; that it is verified, the caller has
seen to.
"""

from __future__ import annotations

from echomox.sasl.values import Challenge, Context, Lookup, Reason, Refused, Steps, Success, prepare_name


def external(lookup: Lookup, context: Context) -> Steps:
    response = yield Challenge(b"")
    asked = prepare_name(response) if response else ""
    names = context.certificate
    if not names:
        raise Refused(Reason.CREDENTIALS, asked, "no certificate that stands at an account")
    if asked and asked.casefold() not in {name.casefold() for name in names}:
        raise Refused(Reason.CREDENTIALS, asked, "the certificate is of another account")
    return Success("", asked or names[0])
