"""The sendmail program: its command line, its input, who a mail is from and to, exit codes, dead.letter."""

import io
import smtplib
import sys

import pytest

from echomox.cli import sendmail
from echomox.cli.sendmail import (
    Failed,
    Options,
    Settings,
    keep,
    load_settings,
    main,
    parse_options,
    prepare,
    read_message,
)

SETTINGS = Settings(sender="app@example.org", to="admin@example.org", aliases={"backup": "ops@example.org"})

LINES = [
    # (words, what of Options is not as usual)
    (["a@b", "c@d"], {"recipients": ["a@b", "c@d"]}),
    (["-i", "-FCronDaemon", "-odi", "-oem", "-oi", "-t", "-f", "root"],
     {"dots": True, "full_name": "CronDaemon", "from_header": True, "sender": "root"}),
    (["-ti", "-fa@b", "--", "-x@y"], {"dots": True, "from_header": True, "sender": "a@b", "recipients": ["-x@y"]}),
    (["-oi", "-f", "<>", "a@b"], {"dots": True, "sender": "", "recipients": ["a@b"]}),
    (["-r<a@b>", "-F", "A B", "-v"], {"sender": "a@b", "full_name": "A B", "verbose": True}),
    (["-N", "success,delay", "-Rhdrs", "-V", "a b+c"],
     {"notify": "SUCCESS,DELAY", "ret": "HDRS", "envid": "a+20b+2Bc"}),
    (["-bm", "-B8BITMIME", "-q30m", "-G", "-n", "-U", "-h", "5", "-X", "/x", "-O", "a=b", "-L", "tag"], {}),
    (["-C", "/x/y"], {"config": "/x/y"}),
]  # fmt: skip


@pytest.mark.parametrize("words, expected", LINES)
def test_command_lines(words, expected):
    assert parse_options(words) == Options(**expected)


@pytest.mark.parametrize("words", [["-bs"], ["-bp"], ["-z"], ["-f"], ["-N", "always"], ["-N", "never,delay"],
                                   ["-R", "x"],
                                   ["-V", "x" * 101], ["-ix"]])  # fmt: skip
def test_command_lines_that_are_refused(words):
    with pytest.raises(Failed) as found:
        parse_options(words)
    assert found.value.code == 64


INPUTS = [
    # (standard input, with -i, message)
    (b"a: b\n\nx\n", False, b"a: b\r\n\r\nx\r\n"),
    (b"a: b\r\n\r\nx", True, b"a: b\r\n\r\nx\r\n"),
    (b"a: b\n\n.\nx\n", True, b"a: b\r\n\r\n.\r\nx\r\n"),
    (b"a: b\n\n.\nx\n", False, b"a: b\r\n\r\n"),
    (b"a: b\n\nx\n.", False, b"a: b\r\n\r\nx\r\n"),
    (b"From me now\na: b\n\nx\0\n", True, b"a: b\r\n\r\nx\r\n"),
    (b"a: b\rx: y\n", True, b"a: b\r\nx: y\r\n"),
    (b"", True, None),
    (b".\nx\n", False, None),
]


@pytest.mark.parametrize("data, dots, expected", INPUTS)
def test_input(data, dots, expected):
    if expected is None:
        with pytest.raises(Failed) as found:
            read_message(io.BytesIO(data), dots)
        assert found.value.code == 66
    else:
        assert read_message(io.BytesIO(data), dots) == expected


MAILS = [
    # (options, message, sender, recipients, From field; a number: exit code)
    (Options(recipients=["a@b.c"]), b"From: x@y.z\r\n\r\n", "x@y.z", ("a@b.c",), b"From: x@y.z"),
    (Options(recipients=["a@b.c"], sender="s@y.z"), b"From: x@y.z\r\n\r\n", "s@y.z", ("a@b.c",), b"From: x@y.z"),
    (Options(recipients=["a@b.c"], sender=""), b"From: x@y.z\r\n\r\n", "", ("a@b.c",), b"From: x@y.z"),
    (Options(recipients=["root", "backup", "root"]), b"From: x@y.z\r\n\r\n", "x@y.z",
     ("admin@example.org", "ops@example.org"), b"From: x@y.z"),
    (Options(recipients=["root"], sender="root"), b"To: root\r\nFrom: root (Cron Daemon)\r\n\r\n", "app@example.org",
     ("admin@example.org",), b"From: Cron Daemon <app@example.org>"),
    (Options(recipients=["root"], full_name="A, B"), b"just text\r\n", "app@example.org", ("admin@example.org",),
     b'From: "A, B" <app@example.org>'),
    (Options(from_header=True), b"To: A <a@b.c>, d@e.f\r\nCc: root\r\nBcc: g@h.i,\r\n a@b.c\r\nFrom: x@y.z\r\n\r\n",
     "x@y.z", ("a@b.c", "d@e.f", "admin@example.org", "g@h.i"), b"From: x@y.z"),
    (Options(from_header=True), b"To: a@b.c\r\nResent-To: d@e.f\r\nFrom: x@y.z\r\n\r\n", "x@y.z",
     ("d@e.f",), b"From: x@y.z"),
    (Options(from_header=True), b"From: x@y.z\r\n\r\n", 65, (), b""),
    (Options(), b"From: x@y.z\r\n\r\n", 64, (), b""),
    (Options(recipients=["a b"]), b"From: x@y.z\r\n\r\n", 65, (), b""),
    (Options(recipients=["a@b@c"]), b"From: x@y.z\r\n\r\n", 65, (), b""),
    (Options(recipients=["a@b\r\nRCPT TO:<x@y>"]), b"From: x@y.z\r\n\r\n", 65, (), b""),
    (Options(recipients=["a@b.c"], sender="x y@z"), b"Subject: x\r\n\r\n", 65, (), b""),
]  # fmt: skip


@pytest.mark.parametrize("options, text, sender, recipients, line", MAILS)
def test_who_it_is_from_and_to(options, text, sender, recipients, line):
    if isinstance(sender, int):
        with pytest.raises(Failed) as found:
            prepare(text, options, SETTINGS)
        assert found.value.code == sender
        return
    mail = prepare(text, options, SETTINGS)
    assert (mail.sender, mail.recipients) == (sender, recipients)
    assert [one for one in mail.text.split(b"\r\n") if one.startswith(b"From:")] == [line]


CONFIGS = [
    ('host = "x.example"\nfrom = "a@b.c"', Settings("x.example", 465, sender="a@b.c")),
    ('tls = "starttls"\nport = 2525', Settings(port=2525, tls="starttls")),
    ('tls = "starttls"', Settings(port=587, tls="starttls")),
    ('tls = "none"\nhost = "127.0.0.1"\ntimeout = 5', Settings("127.0.0.1", 587, "none", timeout=5)),
    ('user = "u"\npassword_file = "secret"', Settings(user="u", password="p w")),
    ('tls = "none"\nhost = "x.example"', None),
    ('tls = "maybe"', None),
    ("port = true", None),
    ('color = "red"', None),
    ('from = "root"', None),
    ('aliases = { a = "b" }', None),
    ('password_file = "none"', None),
    ("host = ", None),
]


@pytest.mark.parametrize("text, expected", CONFIGS)
def test_configuration(text, expected, tmp_path):
    (tmp_path / "c.toml").write_text(text)
    (tmp_path / "secret").write_text("p w\n")
    if expected is None:
        with pytest.raises(Failed) as found:
            load_settings(str(tmp_path / "c.toml"))
        assert found.value.code == 78
    else:
        assert load_settings(str(tmp_path / "c.toml")) == expected
        assert "p w" not in repr(expected)


TROUBLES = [
    (smtplib.SMTPAuthenticationError(535, b"no"), 77),
    (smtplib.SMTPAuthenticationError(454, b"later"), 75),
    (smtplib.SMTPRecipientsRefused({"a@b": (550, b"no")}), 67),
    (smtplib.SMTPRecipientsRefused({"a@b": (550, b"no"), "c@d": (452, b"later")}), 67),
    (smtplib.SMTPRecipientsRefused({"c@d": (452, b"later")}), 75),
    (smtplib.SMTPDataError(550, b"no"), 69),
    (smtplib.SMTPSenderRefused(451, b"later", "a@b"), 75),
    (smtplib.SMTPServerDisconnected("gone"), 75),
    (ConnectionRefusedError(111, "refused"), 75),
    (TimeoutError("slow"), 75),
    (KeyError("ours"), 70),
]


@pytest.mark.parametrize("error, code", TROUBLES)
def test_exit_codes_and_dead_letter(error, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"From: x@y.z\nSubject: s\n\nFrom here\nx\n")))
    (tmp_path / "c.toml").write_text("")

    def submit(*arguments):
        raise error

    monkeypatch.setattr(sendmail, "submit", submit)
    assert main(["-C", str(tmp_path / "c.toml"), "-i", "a@b.c"]) == code
    letter = tmp_path / "dead.letter"
    assert letter.stat().st_mode & 0o777 == 0o600
    assert letter.read_bytes().endswith(b"\nFrom: x@y.z\nSubject: s\n\n>From here\nx\n\n")
    assert str(letter) in capsys.readouterr().err


def test_a_dead_letter_is_added_to_and_no_link_is_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    keep(b"one\r\n")
    keep(b"two\r\n")
    assert (tmp_path / "dead.letter").read_bytes().count(b"From echomox-sendmail ") == 2
    (tmp_path / "dead.letter").unlink()
    (tmp_path / "dead.letter").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        keep(b"three\r\n")
    assert not (tmp_path / "other").exists()
