"""What belongs to an account besides mail: secrets, the log of logins, the outbox of lessons. Functions over a
Database.
"""

from __future__ import annotations

from collections.abc import Mapping

from echomox.store.database import Database
from echomox.store.engine import LearnItem, Login

LOGINS_KEPT = 10_000
LOGINS_AGE = 30 * 86_400.0
_PRUNE_EVERY = 64  # logins between two looks for old ones


def secrets(database: Database) -> Mapping[str, str]:
    return dict(database.execute("SELECT scheme, value FROM secret").fetchall())


def set_secrets(database: Database, values: Mapping[str, str]) -> None:
    """Replaces all, durably; "generation" grows by one, whatever `values` says of it."""
    with database.write() as write:
        row = write.execute("SELECT value FROM secret WHERE scheme = 'generation'").fetchone()
        generation = int(row[0]) + 1 if row else 1
        write.execute("DELETE FROM secret")
        write.executemany("INSERT INTO secret VALUES (?, ?)", {**values, "generation": str(generation)}.items())
    database.sync()


def log_login(database: Database, login: Login) -> None:
    with database.write() as write:
        cursor = write.execute(
            "INSERT INTO login (time, address, protocol, mechanism, result, remote_ip) VALUES (?, ?, ?, ?, ?, ?)",
            (login.time, login.address, login.protocol, login.mechanism, login.result, login.remote_ip),
        )
        newest = cursor.lastrowid or 0
        if newest % _PRUNE_EVERY == 0:
            write.execute(
                "DELETE FROM login WHERE id <= ? OR time < ?", (newest - LOGINS_KEPT, login.time - LOGINS_AGE)
            )


def logins(database: Database, limit: int) -> list[Login]:
    """Newest first."""
    rows = database.execute(
        "SELECT time, address, protocol, mechanism, result, remote_ip FROM login ORDER BY id DESC LIMIT ?",
        (min(limit, LOGINS_KEPT),),
    )
    return [Login(*row) for row in rows.fetchall()]


def learn_outbox(database: Database, after: int, limit: int) -> list[LearnItem]:
    rows = database.execute(
        "SELECT id, message_id, label FROM learn_outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [LearnItem(*row) for row in rows.fetchall()]


def learned(database: Database, up_to: int) -> None:
    with database.write() as write:
        write.execute("DELETE FROM learn_outbox WHERE id <= ?", (up_to,))
