"""The extensions of our SMTP servers, in the order EHLO shows them: one file a keyword, one row here."""

from __future__ import annotations

from echomox.smtpd.command import Extension
from echomox.smtpd.ext import auth, eightbitmime, enhancedstatuscodes, pipelining, size, smtputf8, starttls

EXTENSIONS: tuple[Extension, ...] = (
    pipelining.EXTENSION,
    size.EXTENSION,
    eightbitmime.EXTENSION,
    smtputf8.EXTENSION,
    enhancedstatuscodes.EXTENSION,
    starttls.EXTENSION,
    auth.EXTENSION,
)
