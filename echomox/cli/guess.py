"""What a command that is not ours may have meant: a slip of the fingers, or its name with Postfix, Dovecot or mox.

ELSEWHERE is a literal table; `docs/administration.md` has the same for people who read first.
"""

from __future__ import annotations

from collections.abc import Sequence

from echomox.cli.parser import nearest

SUPERVISOR = "echomox-supervisor "
ELSEWHERE = {
    # echomox-supervisor
    "start": SUPERVISOR + "start --daemon", "serve": SUPERVISOR + "start", "run": SUPERVISOR + "start",
    "stop": SUPERVISOR + "stop", "restart": SUPERVISOR + "restart", "check": "echomox config check",
    # Postfix
    "postfix": SUPERVISOR + "start | stop | reload | status", "postqueue": "echomox queue list",
    "mailq": "echomox queue list", "flush": "echomox queue schedule now --all",
    "postsuper": "echomox queue hold | unhold | drop", "postcat": "echomox queue dump ID",
    "qshape": "echomox queue count", "postconf": "echomox config show", "postmap": "echomox alias list",
    "postalias": "echomox alias list", "newaliases": "echomox alias list", "aliases": "echomox alias list",
    "virtual": "echomox alias list", "transport": "echomox config describe dynamic",
    "posttls-finger": "echomox smtp dial DOMAIN", "postlog": "echomox loglevels",
    # Dovecot
    "doveadm": "echomox account, mailbox, sessions, message", "doveconf": "echomox config show",
    "who": "echomox sessions list", "kick": "echomox sessions end ID", "penalty": "echomox block list",
    "auth": "echomox logins list ACCOUNT", "pw": "echomox account set-password ACCOUNT",
    "user": "echomox account list", "quota": "echomox account show ACCOUNT",
    "acl": "echomox mailbox acl ACCOUNT MAILBOX", "fetch": "echomox message raw ACCOUNT ID",
    "log": "echomox loglevels", "index": "echomox account reparse ACCOUNT",
    "force-resync": "echomox mailbox recalculate ACCOUNT", "purge": "echomox verifydata",
    "search": "echomox message list ACCOUNT",
    # mox
    "localserve": "echomox quickstart --demo --dir DIR", "setaccountpassword": "echomox account set-password ACCOUNT",
    "retrain": "echomox filter retrain ACCOUNT", "openaccounts": "echomox sessions list",
    "recalculatemailboxcounts": "echomox mailbox recalculate ACCOUNT", "tlspubkey": "echomox account client-cert",
    "bumpuidvalidity": "echomox mailbox bumpuidvalidity ACCOUNT", "reparse": "echomox account reparse ACCOUNT",
    "reassignuids": "echomox mailbox reassignuids ACCOUNT", "fixuidmeta": "echomox mailbox fixuidmeta ACCOUNT",
    "fixmsgsize": "echomox account fixmsgsize ACCOUNT",
    "reassignthreads": "echomox account reassignthreads ACCOUNT", "suppress": "echomox queue suppression list",
    # rspamd, SpamAssassin, and plain words
    "rspamc": "echomox filter explain FILE", "spamassassin": "echomox filter explain FILE",
    "sa-learn": "echomox filter retrain ACCOUNT", "spam": "echomox filter explain FILE",
    "explain": "echomox filter explain FILE", "password": "echomox account set-password ACCOUNT",
    "passwd": "echomox account set-password ACCOUNT", "useradd": "echomox account add NAME ADDRESS",
    "adduser": "echomox account add NAME ADDRESS", "users": "echomox account list",
    "init": "echomox quickstart ADDRESS", "setup": "echomox quickstart ADDRESS",
    "install": "echomox quickstart ADDRESS", "demo": "echomox quickstart --demo",
    "metrics": "echomox counters", "memory": "echomox stats memory", "top": "echomox status",
    "ps": "echomox status", "ban": "echomox block add ADDRESS", "fail2ban": "echomox block list",
    "whitelist": "echomox senders allow SENDER", "blacklist": "echomox senders block SENDER",
    "list": "echomox alias list", "fsck": "echomox verifydata", "backup": "docs/administration.md, Backup",
    "restore": "docs/administration.md, Backup", "import": "docs/administration.md, Moving mail",
    "export": "docs/administration.md, Moving mail", "sync": "docs/administration.md, Moving mail",
}  # fmt: skip


def guess(name: str, rest: Sequence[str], families: Sequence[str]) -> str:
    """The message for a command that is not there."""
    elsewhere = ELSEWHERE.get(name.lower())
    if elsewhere:
        where = "see" if elsewhere.startswith("docs/") else "here it is"
        return f"no command {name}; {where} {elsewhere if where == 'see' else f'`{elsewhere}`'}"
    near = nearest(name, families, show_all=False)
    return f"no command {name}; {near or '`echomox --help` lists them'}"
