"""Operations that look into the mail of an account: T02 (MAILBOX), T03 (MESSAGE), T04 (PART), R46
(AFFECTIVE_STATE) and A14 (logins) under the seed's own field names. Only `mute` changes anything. See
`workers.operations`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from echomox.reservoir.affect import FIELDS
from echomox.store.engine import COLUMNS, AccountStore, Flag, FlagOp, Mailbox
from echomox.store.muted import KEYWORD
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]

PIECE = 512 * 1024
"""Bytes of a raw message in one answer, at most."""
MAX_UID = 0xFFFFFFFF
_FLAGS = {
    "Junk": Flag.JUNK,
    "Notjunk": Flag.NOTJUNK,
    "Seen": Flag.SEEN,
    "Answered": Flag.ANSWERED,
    "Flagged": Flag.FLAGGED,
    "Forwarded": Flag.FORWARDED,
    "Draft": Flag.DRAFT,
    "Deleted": Flag.DELETED,
}
_SHOWN = [
    "id",
    "uid",
    "message_id",
    "subject",
    "size",
    "received",
    "remote_ip",
    "flags",
    "keywords",
    "modseq",
    "verdict",
    "preview",
]


def time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def logins_list(site: Site, fields: Fields) -> Answer:
    """A14, newest first."""
    logins = site.store(fields["account"]).logins(max(0, fields.get("limit", 1000)))
    return {
        "logins": [
            {
                "time": time_text(login.time),
                "remote_ip": login.remote_ip,
                "protocol": login.protocol,
                "mechanism": login.mechanism,
                "result": login.result,
                "address": login.address,
            }
            for login in logins
        ]
    }


def mailbox_list(site: Site, fields: Fields) -> Answer:
    return {"mailboxes": [_mailbox(mailbox) for mailbox in site.store(fields["account"]).mailboxes()]}


def mailbox_show(site: Site, fields: Fields) -> Answer:
    return _mailbox(site.store(fields["account"]).mailbox(fields["mailbox"]))


def _mailbox(mailbox: Mailbox) -> Answer:
    """T02: the ten, and what else is known."""
    return {
        "ID": mailbox.id,
        "UIDValidity": mailbox.uidvalidity,
        "UIDNext": mailbox.uidnext,
        "Name": mailbox.name,
        "HaveCounts": True,
        "Total": mailbox.total,
        "Deleted": mailbox.deleted,
        "Unread": mailbox.unread,
        "Unseen": mailbox.unseen,
        "Size": mailbox.size,
        "SpecialUse": mailbox.special_use,
        "Subscribed": mailbox.subscribed,
        "ModSeq": mailbox.modseq,
    }


def message_list(site: Site, fields: Fields) -> Answer:
    """The newest messages of a mailbox, by descending UID."""
    store = site.store(fields["account"])
    mailbox = store.mailbox(fields["mailbox"])
    wanted = ("id", "uid", "received", "size", "flags", "subject")
    found = list(store.fetch(mailbox.id, 1, MAX_UID, wanted))[-max(1, fields.get("limit", 50)) :]
    return {
        "messages": [
            {
                "ID": row[0],
                "UID": row[1],
                "Received": time_text(row[2]),
                "Size": row[3],
                "Seen": bool(row[4] & Flag.SEEN),
                "Junk": bool(row[4] & Flag.JUNK),
                "Subject": row[5],
            }
            for row in reversed(found)
        ]
    }


def message_show(site: Site, fields: Fields) -> Answer:
    """T03: the sixteen, and what else is known."""
    store = site.store(fields["account"])
    mailbox, row = find_message(store, fields["id"], [name for name in _SHOWN if name in COLUMNS])
    flags = row["flags"]
    return {
        "ID": row["id"],
        "UID": row["uid"],
        "MailboxID": mailbox.id,
        "MessageID": row["message_id"],
        "Subject": row["subject"],
        "Size": row["size"],
        "Received": time_text(row["received"]),
        "RemoteIP": row.get("remote_ip", ""),
        **{name: bool(flags & flag) for name, flag in _FLAGS.items()},
        "Keywords": row["keywords"].split(),
        "Mailbox": mailbox.name,
        "ModSeq": row["modseq"],
        "Verdict": json.loads(row["verdict"]) if row["verdict"] else None,
        "Preview": row["preview"],
    }


def message_parts(site: Site, fields: Fields) -> Answer:
    """T04. BodyOffset is into the message as clients see it, trace headers included."""
    _, row = find_message(site.store(fields["account"]), fields["id"], ["parts", "prefix"])
    before = len(row["prefix"])
    return {
        "parts": [
            {
                "MessageID": fields["id"],
                "PartNum": number,
                "ContentType": part.content_type,
                "Disposition": part.disposition,
                "Size": part.size,
                "BodyOffset": before + part.offset,
                "Path": part.path,
                "Charset": part.charset,
                "Encoding": part.encoding,
                "Filename": part.filename,
            }
            for number, part in enumerate(row["parts"])
        ]
    }


def message_affect(site: Site, fields: Fields) -> Answer:
    """R46: AFFECTIVE_STATE, as it was when the message was delivered."""
    store = site.store(fields["account"])
    find_message(store, fields["id"], ["id"])
    found = store.affect(fields["id"])
    if found is None:
        raise Refused(f"message {fields['id']} was not classified; `echomox filter explain --affect` reads it now")
    return dict(zip(("MessageID", *FIELDS), astuple(found), strict=True))


def mute(op: FlagOp, site: Site, fields: Fields) -> Answer:
    """T13: sets the keyword that mutes a message's thread, or (REMOVE) takes it off."""
    store = site.store(fields["account"])
    mailbox, row = find_message(store, fields["id"], ["uid", "thread_id"])
    if store.store_flags(mailbox.id, [row["uid"]], op, 0, [KEYWORD]).missing:
        raise Refused(f"message {fields['id']} was moved or removed meanwhile; ask again")
    return {"MessageID": fields["id"], "ThreadID": row["thread_id"], "Muted": op is FlagOp.ADD}


def message_raw(site: Site, fields: Fields) -> Answer:
    """A piece of the message as clients see it; `size` is the whole."""
    store = site.store(fields["account"])
    find_message(store, fields["id"], ["id"])
    content = store.content(fields["id"])
    try:
        data = content.read(max(0, fields["offset"]), max(0, min(fields["length"], PIECE)))
        return {"size": content.size, "data": base64.b64encode(data).decode("ascii")}
    finally:
        content.close()


def find_message(store: AccountStore, message_id: int, columns: list[str]) -> tuple[Mailbox, dict[str, Any]]:
    """A message by its id, wherever it is; raises Refused."""
    for mailbox in store.mailboxes():
        for found, uid in store.fetch(mailbox.id, 1, MAX_UID, ("id", "uid")):
            if found == message_id:
                row = next(iter(list(store.fetch(mailbox.id, uid, uid, columns))), None)
                if row is not None:
                    return mailbox, dict(zip(columns, row, strict=True))
    raise Refused(f"account {store.name} has no message {message_id}; `echomox message list` shows what there is")
