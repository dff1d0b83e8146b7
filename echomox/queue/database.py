"""The queue's index.db: made, opened, and the connections to it.

WAL. Two kinds of connection: `durable` ones (synchronous=FULL: a commit is on disk when it returns; it carries all
earlier ones of the others with it) for what is promised to somebody, and `quick` ones (NORMAL: survives kill -9, not
power loss) for leases, which a power loss ends anyway. The queue runner moves the WAL into the database; an adder does
it only when the WAL has become large, which means that no runner is alive.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from echomox.config.paths import Paths
from echomox.store.disk import Disk

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 1
BUSY_TIMEOUT = 20.0
CACHE_KIB = 8192
PAGE_SIZE = 8192
WAL_PAGES = 16_384  # at which an adder moves it by itself
WAL_LIMIT = 16 << 20  # a longer WAL file is cut back when it starts anew
FOLDERS = 16


class QueueError(Exception):
    """Trouble with the queue's database that is not the disk's."""


def translate(error: sqlite3.Error) -> Exception:
    text = str(error)
    if "is full" in text:
        return OSError(errno.ENOSPC, text)
    if "disk I/O" in text or "unable to open" in text:
        return OSError(errno.EIO, text)
    return QueueError(f"the queue's index: {text}")


def directory_of(paths: Paths) -> Path:
    return paths.data / "queue"


def file_path(directory: Path, name: str) -> Path:
    return directory / "msg" / name[:1] / name


def prepare(paths: Paths, disk: Disk | None = None) -> Path:
    """Makes data/queue, its directories and its database when they are missing; durable. Any process may, at once."""
    disk = disk or Disk()
    directory = directory_of(paths)
    path = directory / "index.db"
    if path.exists():
        _upgrade(path)
        return directory
    disk.make_directory(str(directory / "msg"))
    for number in range(FOLDERS):
        disk.make_directory(str(directory / "msg" / f"{number:x}"))
    fresh = directory / f"index.{os.getpid()}.new"
    _build(fresh)
    disk.sync_file(str(fresh))
    try:
        os.link(fresh, path)  # never replaces one that another process has made meanwhile
    except FileExistsError:
        pass
    disk.unlink(str(fresh))
    for place in (directory / "msg", directory, paths.data):
        disk.sync_directory(str(place))
    _own(directory, paths)
    return directory


def _own(directory: Path, paths: Paths) -> None:
    """What root makes is given to whom the data belongs."""
    if os.geteuid() != 0:
        return
    owner = paths.data.stat()
    for place in (directory, *directory.rglob("*")):
        shutil.chown(place, owner.st_uid, owner.st_gid)


def _build(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.executescript(f"BEGIN; {SCHEMA.read_text(encoding='utf-8')}; PRAGMA user_version={VERSION}; COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)


def _upgrade(path: Path) -> None:
    connection = connect(path.parent, durable=True)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise QueueError(f"the queue's index has version {version}; this program knows {VERSION}")
    finally:
        connection.close()


def connect(directory: Path, *, durable: bool, timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """A connection for one thread at a time. Raises OSError, QueueError."""
    try:
        connection = sqlite3.connect(
            f"{(directory / 'index.db').absolute().as_uri()}?mode=rw",
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=True,
        )
        for pragma in (
            f"synchronous={'FULL' if durable else 'NORMAL'}",
            f"wal_autocheckpoint={WAL_PAGES}",
            f"journal_size_limit={WAL_LIMIT}",
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise translate(error) from error
    return connection
