"""The schema as commented TOML: the samples of `conf/`, and the files that quickstart writes.

`full` text has every option with its documentation and what is allowed; an option that stands at its default
is commented out, so that the file says both what is set and what could be. Without `full`, only what is set.
Pure.
"""

from __future__ import annotations

import json
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, is_dataclass
from typing import Any

from echomox.config.load import allowed, key_text, layout
from echomox.config.schema import Account, Alias, Dkim, Domain, Dynamic, Ruleset, Static

STATIC_HEAD = """\
# echomox.toml: the part of the configuration that is read at start.
# After a change: `echomox config check`, then `echomox-supervisor reload`, which replaces the workers.
# Sizes are in bytes, times in seconds. An option with a # before it stands at its default."""

DYNAMIC_HEAD = """\
# domains.toml: domains and accounts. Running workers take a change over at once, when it is valid.
# `echomox domain|account|address ...` change this file and keep your comments; passwords are not in it.
# An option with a # before it stands at its default."""

_WIDTH = 108


def static_text(static: Static, full: bool = True) -> str:
    """echomox.toml that reads back as `static`."""
    return "\n".join([STATIC_HEAD, *_table((), static, full)]) + "\n"


def dynamic_text(dynamic: Dynamic, full: bool = False) -> str:
    """domains.toml that reads back as `dynamic`."""
    return "\n".join([DYNAMIC_HEAD, *_table((), dynamic, full)]) + "\n"


def table_text(path: tuple[str, ...], value: Any) -> str:
    """A table with its header, and the tables below it; only what is set."""
    return "\n".join([f"[{key_text(path)}]", *_table(path, value, False)]) + "\n"


def sample_static() -> str:
    """conf/echomox.toml"""
    return static_text(Static(hostname="mail.example.com"))


def sample_dynamic() -> str:
    """conf/domains.toml"""
    domain = Domain(dkim=(Dkim("2026a", "ed25519", "dkim/example.com.2026a.pem"),))
    rule = Ruleset(verified_domain="lists.example.org", list_allow_domain="lists.example.org", mailbox="Lists")
    account = Account(addresses=("you@example.com", "@example.com"), full_name="You", rulesets=(rule,))
    alias = Alias(members=("you@example.com", "friend@example.org"), description="A team.")
    dynamic = Dynamic({"example.com": domain}, {"you": account}, aliases={"team@example.com": alias})
    return dynamic_text(dynamic, full=True)


def _table(path: tuple[str | int, ...], value: Any, full: bool) -> Iterator[str]:
    """The lines of a table without its header: plain options first, as TOML wants it, then what has a
    header.
    """
    known = layout(type(value))
    for name, (kind, item) in known.items():
        if not _has_header(kind):
            yield from _option(name, kind, item, getattr(value, name), full)
    for name, (kind, item) in known.items():
        if _has_header(kind):
            yield from _headed((*path, name), item, getattr(value, name), full)


def _has_header(kind: Any) -> bool:
    """Tables, tables by name and lists of tables; not a table of plain values, which is written inline."""
    return is_dataclass(kind) or any(map(is_dataclass, typing.get_args(kind)))


def _headed(path: tuple[str | int, ...], item: Field[Any], value: Any, full: bool) -> Iterator[str]:
    """Tables with their headers. The elements of a list of tables all have the same one, [[path]]."""
    entries: list[tuple[str, tuple[str | int, ...], Any]]
    if isinstance(value, Mapping):
        entries = [(f"[{key_text((*path, name))}]", (*path, name), entry) for name, entry in value.items()]
    elif isinstance(value, tuple):
        entries = [(f"[[{key_text(path)}]]", path, entry) for entry in value]
    else:
        entries = [(f"[{key_text(path)}]", path, value)]
    for place, (header, below, entry) in enumerate(entries):
        lines = list(_table(below, entry, full))
        if not lines and entry is value:
            continue
        yield ""
        if full and not place:
            yield from comment(item.metadata["doc"])
            if entry.__doc__ and not entry.__doc__.startswith(type(entry).__name__ + "("):
                yield from comment(" ".join(entry.__doc__.split()))
        yield header
        yield from lines


def _option(name: str, kind: Any, item: Field[Any], value: Any, full: bool) -> Iterator[str]:
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    if value == default and not full:
        return
    if full:
        plain = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
        limited = {"choices", "low", "high"} & set(item.metadata)
        hint = f" ({allowed(plain, item.metadata)})" if limited else ""
        yield ""
        yield from comment(item.metadata["doc"] + hint)
    yield f"{'#' if value == default else ''}{name} = {toml_value(value)}"


def comment(text: str) -> list[str]:
    return ["# " + line for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False)]


def toml_value(value: Any) -> str:
    """A plain value, a list or an inline table as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key_text((key,))} = {toml_value(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return repr(value)
