"""The extensions of our SMTP servers, in the order EHLO shows them: one file a keyword, one row here."""

from __future__ import annotations

from echomox.smtpd.command import Extension
from echomox.smtpd.ext import (
    auth,
    chunking,
    dsn,
    eightbitmime,
    enhancedstatuscodes,
    futurerelease,
    limits,
    pipelining,
    requiretls,
    size,
    smtputf8,
    starttls,
)

EXTENSIONS: tuple[Extension, ...] = (
    pipelining.EXTENSION,
    size.EXTENSION,
    starttls.EXTENSION,
    auth.EXTENSION,
    dsn.EXTENSION,
    enhancedstatuscodes.EXTENSION,
    eightbitmime.EXTENSION,
    smtputf8.EXTENSION,
    requiretls.EXTENSION,
    futurerelease.EXTENSION,
    limits.EXTENSION,
    chunking.EXTENSION,
)
