"""The command line: families, help, refusals, exit codes."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from echomox.cli.block import duration
from echomox.cli.main import FAMILIES, main


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    try:
        code = main(argv)
    except SystemExit as left:
        code = int(left.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_help_lists_every_family(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {family.name} " in out and family.help in out for family in FAMILIES)


def test_help_of_the_whole_imports_no_family():
    program = (
        "import sys; from echomox.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith(('echomox.', 'workers', 'tomlkit', 'numpy'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    brought = done.stdout.rstrip().rsplit("\n", 1)[1]
    cli = "'echomox.cli', 'echomox.cli.console', 'echomox.cli.main', 'echomox.cli.parser'"
    assert brought == f"[{cli}, 'echomox.errors']"


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_family_has_help(capsys, family):
    code, out, _ = run(capsys, family, "--help")
    assert code == 0 and out.startswith(f"usage: echomox {family}")


@pytest.mark.parametrize("argv", [(), ("account",), ("account", "list", "x"), ("nope",), ("account", "nope")])
def test_wrong_usage_is_2(capsys, argv):
    assert run(capsys, *argv)[0] == 2


@pytest.mark.parametrize(
    "argv", [("account", "list"), ("status",), ("verifydata",), ("config", "check"), ("filter", "stats", "u0")]
)
def test_without_a_configuration_it_says_how_to_make_one(capsys, argv, tmp_path, monkeypatch):
    monkeypatch.delenv("ECHOMOX_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "--config", str(tmp_path), *argv)
    assert (code, out) == (78, "")
    assert err.count("\n") == 1 and "quickstart" in err


def test_options_may_stand_anywhere(capsys, demo):
    config = str(demo.paths.config)
    answers = [
        run(capsys, "--config", config, "--json", "account", "list"),
        run(capsys, "account", "--config", config, "--json", "list"),
        run(capsys, "account", "list", "--config", config, "--json"),
    ]
    assert answers[0][0] == 0 and answers[0] == answers[1] == answers[2]
    assert [account["name"] for account in json.loads(answers[0][1])["accounts"]] == ["u0", "u1"]


def test_a_broken_configuration_is_78_with_all_its_lines(capsys, demo):
    demo.paths.dynamic.write_text("[accounts.u0]\nquota = -1\nquotta = 1\n")
    code, _, err = run(capsys, "config", "show", "--config", str(demo.paths.config))
    assert code == 78 and "domains.toml:2: accounts.u0.quota" in err and "domains.toml:3:" in err


def test_config_check_names_problems_for_programs(capsys, demo):
    code, out, _ = run(capsys, "config", "check", "--config", str(demo.paths.config))
    assert code == 0 and "is good: mail.example.test, 1 domain, 2 accounts" in out
    demo.paths.dynamic.write_text("[accounts.u0]\nquota = -1\n")
    code, out, _ = run(capsys, "config", "check", "--config", str(demo.paths.config), "--json")
    (problem,) = json.loads(out)["problems"]
    assert code == 78 and problem == {
        "file": str(demo.paths.dynamic),
        "line": 2,
        "key": "accounts.u0.quota",
        "problem": "-1 is not allowed; a whole number, at least 0",
    }


def test_describe_prints_the_samples(capsys):
    assert run(capsys, "config", "describe")[1].startswith("# echomox.toml")
    assert run(capsys, "config", "describe", "dynamic")[1].startswith("# domains.toml")


def test_what_needs_a_server_says_so(capsys, demo):
    for argv in (("status",), ("counters",), ("loglevels", "debug")):
        code, _, err = run(capsys, "--config", str(demo.paths.config), *argv)
        assert code == 1 and "echomox-supervisor start" in err


def test_a_demo_is_announced_as_one_json_object(capsys, tmp_path):
    argv = (
        "quickstart",
        "--demo",
        "--dir",
        str(tmp_path / "d"),
        "--base-port",
        "20000",
        "--password",
        "secret",
        "--json",
    )
    code, out, _ = run(capsys, *argv)
    told = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert told["ports"]["imaps"] == 20993
    assert told["accounts"][1] == {"address": "u1@example.test", "password": "secret"}
    assert told["start"] == ["echomox-supervisor", "start", "--config", str(tmp_path / "d" / "config")]
    code, _, err = run(capsys, *argv)
    assert code == 78 and "--force" in err
    assert run(capsys, *argv, "--reuse")[:2] == (0, out)
    text = run(capsys, *argv[:-1], "--reuse")[1]
    assert "imap://127.0.0.1:20143/INBOX" in text and "u0@example.test:secret" in text


def test_versions(capsys):
    assert json.loads(run(capsys, "version", "--json")[1])["aiosmtpd"] == "1.4.6"


DURATIONS = [("1s", 1), ("90m", 5400), ("1h", 3600), ("2d", 172_800), ("1w", 604_800), ("0s", 0)]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "-1h", "1.5h", "1 h", "1y", "\u0661h", "9999999999s"])
def test_what_is_no_duration_is_wrong_usage(capsys, demo, text):
    argv = ("--config", str(demo.paths.config), "block", "add", "192.0.2.1", f"--for={text}")
    assert run(capsys, *argv)[0] == 2


def test_a_block_is_made_and_taken_away_without_a_server(capsys, demo):
    config = ("--config", str(demo.paths.config))
    assert "nothing is blocked" in run(capsys, *config, "block", "list")[1]
    code, out, _ = run(capsys, *config, "block", "add", "192.0.2.1", "--for", "1h", "--why", "guesses passwords")
    assert code == 0 and out.startswith("192.0.2.1 is blocked until 2")
    shown = json.loads(run(capsys, *config, "block", "list", "--json")[1])["blocks"]
    assert [(entry["address"], entry["why"], entry["count"]) for entry in shown] == [
        ("192.0.2.1", "guesses passwords", 0)
    ]
    assert run(capsys, *config, "block", "remove", "192.0.2.1")[0] == 0
    assert run(capsys, *config, "block", "remove", "192.0.2.1")[0] == 1


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device"), "echomox: No space left on device; `df -h` shows which disk"),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), "echomox: /x: Permission denied; run this as root or"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "echomox: /x: No such file or directory\n"),
    (sqlite3.OperationalError("database or disk is full"), "echomox: the database: database or disk is full; is the"),
]


@pytest.mark.parametrize(("error", "said"), FAILURES)
def test_what_the_system_refuses_is_one_line_with_what_to_do(capsys, demo, monkeypatch, error, said):
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("echomox.cli.control.perform", refuse)
    code, out, err = run(capsys, "--config", str(demo.paths.config), "account", "list")
    assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith(said)


def test_letters_that_a_locale_lacks_are_printed_otherwise(demo):
    argv = [sys.executable, "-m", "echomox.cli.main", "--config", str(demo.paths.config)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    subprocess.run([*argv, "account", "set", "u0", "full_name=J\u00fcrgen"], env=environment, check=True)
    done = subprocess.run([*argv, "account", "show", "u0"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "") and r"J\xfcrgen" in done.stdout


@pytest.mark.parametrize(("where", "code"), [(">&-", 0), ("> /dev/full", 1)])
def test_an_output_that_takes_nothing_is_no_error_of_the_program(demo, where, code):
    line = f'"$0" -m echomox.cli.main --config "$1" account list {where}'
    argv = ["sh", "-c", line, sys.executable, str(demo.paths.config)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == code and done.stderr.count("\n") == code


def test_a_rule_that_holds_all_mail_is_asked_for_by_name(capsys, demo):
    config = ("--config", str(demo.paths.config))
    code, _, err = run(capsys, *config, "queue", "holdrules", "add")
    assert code == 2 and "--all" in err
    assert run(capsys, *config, "queue", "holdrules", "list")[1] == "there are no rules\n"
    assert run(capsys, *config, "queue", "holdrules", "add", "--all")[0] == 0


def test_a_log_level_of_a_package_that_is_none_is_refused(capsys, demo):
    config = ("--config", str(demo.paths.config))
    code, _, err = run(capsys, *config, "loglevels", "smptd", "debug")
    assert code == 2 and "no package smptd; did you mean `smtpd`?" in err
    for package in ("smtpd", "queue", "supervisor", "trainer"):
        assert run(capsys, *config, "loglevels", package, "debug")[0] == 1  # no server runs
