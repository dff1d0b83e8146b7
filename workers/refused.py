"""The refusal of an operation; a module of its own, so that a command need not bring the whole store to read one."""

from __future__ import annotations


class Refused(Exception):
    """An operation that cannot be done as asked: one line that says what to do instead."""
