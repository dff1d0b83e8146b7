"""Changes of domains.toml that keep what a person wrote in it: comments, order, spacing.

A change touches the lines of its own statements only; a value is replaced within its statement by tomlkit,
which keeps the comments there. What comes out is read again and must say exactly what was meant, or nothing
is written. One writer at a time over all processes (a lock on the directory); the file is replaced whole
(see `files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tomlkit
from tomlkit.items import Array

from echomox.config.checks import address_key, check_together
from echomox.config.describe import table_text, toml_value
from echomox.config.files import write_atomic, writers_lock
from echomox.config.load import ConfigProblems, Reader, key_text, load_static, parse_dynamic
from echomox.config.names import domain_key
from echomox.config.paths import Paths
from echomox.config.positions import Path, Statement, key_of, statements
from echomox.config.schema import Account, Alias, Domain, Dynamic, Ruleset, Senders, Static
from echomox.errors import ConfigError


class Draft:
    """domains.toml being changed. `text` is the file to be; `dynamic` what it will say once `check` was
    happy.
    """

    def __init__(self, paths: Paths, static: Static, data: bytes) -> None:
        """Raises ConfigProblems if the file is broken as it is."""
        self.paths = paths
        self.static = static
        self.dynamic = parse_dynamic(paths.dynamic, data)
        self.text = Reader(paths.dynamic, data).text
        self.before = self.text

    def check(self) -> Dynamic:
        """What the text now says, valid; raises ConfigProblems and takes nothing over."""
        try:
            dynamic = parse_dynamic(self.paths.dynamic, self.text.encode("utf-8"))
        except ConfigProblems as error:
            raise _as_refusal(error) from None
        reader = Reader(self.paths.static, b"")
        check_together(reader, self.static, dynamic)
        if reader.problems:
            raise ConfigError(reader.problems[0][3] + "; change postmaster in echomox.toml first")
        self.dynamic = dynamic
        return dynamic

    # accounts and domains

    def add_account(self, name: str, account: Account) -> None:
        if name in self.dynamic.accounts:
            raise ConfigError(f"account {name} is there already; `echomox account list` shows all")
        self._append(("accounts", name), account)

    def add_domain(self, name: str, domain: Domain) -> None:
        """name: as domain_key gives it. dkim keys of `domain` are relative names."""
        if name in self.dynamic.domains:
            raise ConfigError(f"domain {name} is there already; `echomox domain list` shows all")
        self._append(("domains", name), domain)

    def remove_account(self, name: str) -> None:
        self._known("accounts", name)
        self._remove(("accounts", name))

    def remove_domain(self, name: str) -> None:
        self._remove(("domains", self._known("domains", name)))

    def set_account(self, name: str, values: Mapping[tuple[str, ...], Any]) -> None:
        """values: by path below the account, as ("junk_filter", "mode")."""
        self._known("accounts", name)
        for path, value in values.items():
            self._set(("accounts", name, *path), value)

    def set_domain(self, name: str, values: Mapping[tuple[str, ...], Any]) -> None:
        written = self._known("domains", name)
        for path, value in values.items():
            self._set(("domains", written, *path), value)

    def set_server_senders(self, kind: str, entries: tuple[str, ...]) -> None:
        """kind: "allow" or "block"."""
        path = ("senders", kind)
        table = Reader(self.paths.dynamic, self.text.encode()).table
        if path[0] in table:
            self._set(path, entries)
        else:
            self._append(path[:1], Senders(**{kind: entries}))

    # aliases and rulesets

    def add_alias(self, address: str, alias: Alias) -> None:
        self._append(("aliases", address), alias)

    def remove_alias(self, address: str) -> None:
        self._remove(("aliases", self._known("aliases", address)))

    def set_alias(self, address: str, values: Mapping[tuple[str, ...], Any]) -> None:
        written = self._known("aliases", address)
        for path, value in values.items():
            self._set(("aliases", written, *path), value)

    def add_ruleset(self, account: str, rule: Ruleset, before: int = 0) -> int:
        """Before that rule, counted from 1; 0: at the end. Returns its number."""
        self._known("accounts", account)
        path = ("accounts", account, "rulesets")
        there = self._tables(path)
        block = ("[" + table_text(path, rule).replace("]\n", "]]\n", 1)).split("\n")
        if 1 <= before <= len(there):
            self._insert(there[before - 1][0] - 1, block)
        else:
            before = len(there) + 1
            self.text = self.text.rstrip("\n") + "\n\n" + "\n".join(block)
        self._counted(path, len(there) + 1)
        return before

    def remove_ruleset(self, account: str, number: int) -> None:
        """Counted from 1."""
        path = ("accounts", account, "rulesets")
        there = self._tables(path)
        if not 1 <= number <= len(there):
            raise _by_hand(path)
        first, last = there[number - 1]
        lines = self.text.split("\n")
        if last < len(lines) and not lines[last].strip():
            last += 1
        del lines[first - 1 : last]
        self.text = "\n".join(lines).rstrip("\n") + "\n"
        self._counted(path, len(there) - 1)

    def _tables(self, path: tuple[str, ...]) -> list[tuple[int, int]]:
        """First and last line of each element of a list of tables, its own tables included."""
        found: list[tuple[int, int]] = []
        within = False
        for statement in statements(self.text):
            if statement.kind == "array" and statement.path[:-1] == path:
                found.append((statement.first, statement.last))
                within = True
            elif statement.kind in ("table", "array"):
                within = within and statement.path[: len(path)] == path
            if within and statement.kind:
                found[-1] = found[-1][0], statement.last
        return found

    def _counted(self, path: Path, wanted: int) -> None:
        self._take(self.text, lambda table: len(_dig(table, path) or ()) == wanted, path)

    def _known(self, kind: str, name: str) -> str:
        """The name as it is written in the file; raises ConfigError with what to do."""
        for written in Reader(self.paths.dynamic, self.text.encode()).table.get(kind, {}):
            if written == name or (kind == "domains" and domain_key(written) == name):
                return str(written)
            if kind == "aliases" and self._same_alias(written, name):
                return str(written)
        singular = kind.removesuffix("es" if kind == "aliases" else "s")
        raise ConfigError(f"no {singular} {name}; `echomox {singular} list` shows what there is")

    def _same_alias(self, written: str, name: str) -> bool:
        try:
            keys = {address_key(one, self.dynamic.domains)[0] for one in (written, name)}
        except ValueError:
            return False
        return len(keys) == 1 and "" not in keys

    # the text

    def _append(self, path: tuple[str, ...], value: Any) -> None:
        gap = "" if not self.text or self.text.endswith("\n\n") else "\n" if self.text.endswith("\n") else "\n\n"
        self._take(self.text + gap + table_text(path, value), lambda table: _dig(table, path) is not None, path)

    def _remove(self, path: Path) -> None:
        """The statements of a table and of all below it; comments that stand before its neighbour stay."""
        lines = self.text.split("\n")
        found = statements(self.text)
        doomed: set[int] = set()
        for place, statement in enumerate(found):
            if statement.path[: len(path)] == path:
                doomed.update(range(statement.first, statement.last + 1))
                doomed.update(_gap_after(found, place, path, lines))
        kept = [line for number, line in enumerate(lines, 1) if number not in doomed]
        text = "\n".join(kept).rstrip("\n") + "\n"
        self._take(text, lambda table: _dig(table, path) is None, path)

    def _set(self, path: Path, value: Any) -> None:
        found = statements(self.text)
        for end in range(len(path), 1, -1):
            for statement in found:
                if statement.kind == "key" and statement.path == path[:end]:
                    return self._replace(statement, path, path[end:], value)
        holders = [item for item in found if item.kind in ("table", "array") and item.path == path[:-1]]
        parents = [item for item in found if item.kind in ("table", "array") and item.path == path[:-2]]
        line = f"{key_text(path[-1:])} = {toml_value(value)}"
        if holders:
            self._insert(_end_of(found, holders[-1]), [line])
        elif parents:
            self._insert(_end_of(found, parents[-1]), ["", f"[{key_text(path[:-1])}]", line])
        else:
            raise _by_hand(path)
        return self._verify(path, value)

    def _replace(self, statement: Statement, path: Path, rest: Path, value: Any) -> None:
        """A new value within one statement; tomlkit keeps its comments."""
        lines = self.text.split("\n")
        text = "\n".join(lines[statement.first - 1 : statement.last]) + "\n"
        document: Any = tomlkit.parse(text)
        holder = document
        *outer, name = (*key_of(text), *rest)
        for part in outer:
            holder = holder[part]
        old = holder.get(name)
        if isinstance(old, Array) and isinstance(value, (list, tuple)):
            _change_array(old, list(value))
        else:
            holder[name] = list(value) if isinstance(value, tuple) else value
        lines[statement.first - 1 : statement.last] = tomlkit.dumps(document).rstrip("\n").split("\n")
        self.text = "\n".join(lines)
        self._verify(path, value)

    def _insert(self, after: int, new: list[str]) -> None:
        lines = self.text.split("\n")
        lines[after:after] = new
        self.text = "\n".join(lines)

    def _verify(self, path: Path, value: Any) -> None:
        wanted = list(value) if isinstance(value, tuple) else value
        self._take(self.text, lambda table: _dig(table, path) == wanted, path)

    def _take(self, text: str, holds: Callable[[Mapping[str, Any]], bool], path: Path) -> None:
        """Keeps a new text if it says what was meant."""
        try:
            table = Reader(self.paths.dynamic, text.encode("utf-8")).table
        except ConfigProblems:
            raise _by_hand(path) from None
        if not holds(table):
            raise _by_hand(path)
        self.text = text


def _gap_after(found: list[Statement], place: int, path: Path, lines: list[str]) -> range:
    """Lines that go with a doomed statement: up to the next one of the same table, else one blank line."""
    following = place + 1
    while following < len(found) and not found[following].kind:
        following += 1
    if following < len(found) and found[following].path[: len(path)] == path:
        return range(found[place].last + 1, found[following].first)
    after = found[place].last
    return range(after + 1, after + 2) if after < len(lines) and not lines[after].strip() else range(0)


def _end_of(found: list[Statement], header: Statement) -> int:
    """The last line of a table's own keys; comments after them may be the next table's."""
    end = header.last
    for statement in found[found.index(header) + 1 :]:
        if statement.kind in ("table", "array"):
            break
        if statement.kind:
            end = statement.last
    return end


def _change_array(array: Array, wanted: list[Any]) -> None:
    """Makes an array hold what is wanted, its comments kept where its elements stay."""
    for place in range(len(array) - 1, -1, -1):
        if array[place] not in wanted:
            del array[place]
    for value in wanted:
        if value not in array:
            array.append(value)
    if list(array) != wanted:  # another order, or doubles
        array.clear()
        array.extend(wanted)


def _dig(table: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(table, dict) or part not in table:
            return None
        table = table[part]
    return table


def _by_hand(path: Path) -> ConfigError:
    return ConfigError(f"{key_text(path)} is written in a way that is only safe to change by hand; nothing was changed")


def _as_refusal(error: ConfigProblems) -> ConfigError:
    """Problems of a text that is not on disk: without file and line, which nobody could look up."""
    return ConfigError("; ".join(f"{key}: {text}" if key else text for _, _, key, text in error.problems))


@contextmanager
def editing(paths: Paths) -> Iterator[Draft]:
    """A draft of domains.toml; when the block ends well it is checked and replaces the file, else nothing
    happens.

    Raises ConfigError. Within the block `draft.check()` says early whether it would be taken.
    """
    with writers_lock(paths.config):
        try:
            data = paths.dynamic.read_bytes()
        except OSError as error:
            raise ConfigError(f"{paths.dynamic}: {error.strerror}") from None
        draft = Draft(paths, load_static(paths.static), data)
        yield draft
        draft.check()
        if draft.text != draft.before:
            write_atomic(paths.dynamic, draft.text.encode("utf-8"))
