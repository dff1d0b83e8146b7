"""The states of an IMAP connection (RFC 9051 section 3). Which command may come in which state is said by
the rows of the server."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"
