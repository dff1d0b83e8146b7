"""ENHANCEDSTATUSCODES (RFC 2034, RFC 3463): every reply but those of the greeting, EHLO and 354 has one."""

from __future__ import annotations

from echomox.smtpd.command import Extension

EXTENSION = Extension("ENHANCEDSTATUSCODES", lambda session: "ENHANCEDSTATUSCODES")
