"""A documented field of the configuration's dataclasses: see `schema`."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, doc: str, **limits: Any) -> Any:
    """A documented field. default: a value, or a class to be called for a fresh one (dict, a dataclass)."""
    metadata = {"doc": doc, **limits}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
