"""PIPELINING (RFC 2920): several commands at once. How every session works anyway; here it is announced."""

from __future__ import annotations

from echomox.smtpd.command import Extension

EXTENSION = Extension("PIPELINING", lambda session: "PIPELINING")
