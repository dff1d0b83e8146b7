"""First configurations: complete, tight, never over another one."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from echomox.config.demo import Demo, write_demo
from echomox.config.dnsrecords import (
    PLACEHOLDERS,
    Facts,
    Record,
    placeholder_notes,
    quoted,
    records,
    reverse_notes,
    zone,
)
from echomox.config.keys import dkim_public, new_dkim_key, new_password
from echomox.config.load import find_config, load_all
from echomox.config.paths import Paths
from echomox.config.quickstart import Request, plan, write
from echomox.config.unit import unit_text
from echomox.errors import ConfigError

USER = pwd.getpwuid(os.geteuid()).pw_name


def request(tmp_path, **changes):
    return Request(**{"address": "you@example.com", "directory": tmp_path, "user": USER, **changes})


@pytest.mark.parametrize("layout", ["home", "fhs"])
def test_a_quickstart_is_complete_and_tight(tmp_path, layout):
    made = plan(request(tmp_path, layout=layout, hostname="mail.example.com"))
    published = write(made)
    paths = find_config(str(made.paths.config))
    static, dynamic = load_all(paths)
    assert paths == made.paths
    assert static.hostname == "mail.example.com" and static.postmaster == "you"
    assert dynamic.accounts["you"].addresses == ("you@example.com",)
    assert [key.algorithm for key in dynamic.domains["example.com"].dkim] == ["ed25519", "rsa"]
    assert len([record for record in published if "_domainkey" in record.name]) == 2
    own = [paths.config, paths.data, paths.tmp, paths.logs, paths.run]
    for top in own:
        for directory, _, files in os.walk(top):
            assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
            assert all(stat.S_IMODE(os.stat(os.path.join(directory, file)).st_mode) == 0o600 for file in files)
    for name in ("accounts", "queue", "acme/keycerts", "reservoir", "spool"):
        assert (paths.data / name).is_dir()


def test_what_it_tells_can_be_followed(tmp_path):
    made = plan(request(tmp_path, hostname="mail.example.com"))
    text = made.text(write(made))
    unit = (made.paths.config / "echomox.service").read_text()
    assert f"   export ECHOMOX_CONFIG={made.paths.config}" in text
    assert f"     cp {made.paths.config}/echomox.service /etc/systemd/system/ && systemctl enable --now echomox" in text
    assert f"/echomox-supervisor start --config {made.paths.config}\n" in unit and f"User={USER}\n" in unit
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit and "RuntimeDirectory" not in unit
    assert ("; 192.0.2.1" in "\n".join(text)) is ("A     192.0.2.1" in "\n".join(text))


def test_the_unit_lets_the_server_see_its_own_files():
    system, home = Paths.fhs(), Paths.home(Path("/home/mail"))
    unit = unit_text(system, "echomox", Path("/opt/echomox/bin/echomox-supervisor"), 3.0).split("\n")
    assert {"ProtectHome=yes", "PrivateTmp=yes", "RuntimeDirectory=echomox", "TimeoutStopSec=23"} <= set(unit)
    assert "ReadWritePaths=/etc/echomox /var/lib/echomox /var/lib/echomox/tmp /var/log/echomox" in unit
    unit = unit_text(home, "mail", Path("/opt/echomox/bin/echomox-supervisor"), 3.0).split("\n")
    assert "ProtectHome=no" in unit and "RuntimeDirectory=echomox" not in unit


def test_odd_paths_are_one_word_to_systemd_and_to_the_shell(tmp_path):
    root = tmp_path / 'my "mail" 100%'
    made = plan(request(tmp_path, directory=root, layout="fhs", hostname="mail.example.com"))
    text = made.text(write(made))
    unit = (made.paths.config / "echomox.service").read_text().split("\n")
    quoted = '"' + str(tmp_path) + '/my \\"mail\\" 100%%'
    (start,) = [line for line in unit if line.startswith("ExecStart=")]
    assert start.endswith(f' start --config {quoted}/etc/echomox"')
    (writable,) = [line for line in unit if line.startswith("ReadWritePaths=")]
    assert writable.endswith(f' {quoted}/var/log/echomox" {quoted}/run/echomox"')
    (exported,) = [line for line in text if "export" in line]
    assert shlex.split(exported) == ["export", f"ECHOMOX_CONFIG={made.paths.config}"]


def test_passwords_are_not_on_disk(tmp_path):
    made = plan(request(tmp_path))
    write(made)
    for directory, _, files in os.walk(tmp_path):
        for file in files:
            with open(os.path.join(directory, file), "rb") as data:
                content = data.read()
            assert made.password.encode() not in content
            assert made.admin_password.encode() not in content


def test_what_is_there_is_never_overwritten(tmp_path):
    write(plan(request(tmp_path)))
    with pytest.raises(ConfigError, match="is there already and is never overwritten"):
        plan(request(tmp_path))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"address": "you"}, "give an address as you@example.com"),
        ({"address": "you@localhost"}, "no full domain name"),
        ({"address": "you@a b.com"}, "not a domain name"),
        ({"address": "\u00fc@example.com"}, "cannot be an account's name"),
        ({"hostname": "mail"}, "--hostname mail: not a full host name"),
        ({"user": "no-such-user"}, "no-such-user"),
    ],
)
def test_a_request_that_cannot_be_met_says_what_to_give(tmp_path, changes, why):
    with pytest.raises(ConfigError, match=why):
        plan(request(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


# -- the demo -----------------------------------------------------------------------


def test_a_demo_is_what_was_asked_for(tmp_path):
    demo = write_demo(Demo(tmp_path, 20000, "Demo.TEST", 3, "junk-only", "127.0.0.1:5353", no_limits=True))
    static, dynamic = load_all(demo.paths)
    assert demo.ports == {
        "smtp": 20025,
        "submission": 20587,
        "submissions": 20465,
        "imap": 20143,
        "imaps": 20993,
    }
    assert static.listeners.smtp == ("127.0.0.1:20025",) and static.listeners.imaps == ("127.0.0.1:20993",)
    assert static.auth.plaintext_from == ("127.0.0.0/8",) and static.dns.resolver == "127.0.0.1:5353"
    limits = static.limits
    assert limits.connections_per_ip == limits.logins_per_minute == limits.idle_per_ip == 0
    assert (limits.message_size, limits.data_timeout) == (104_857_600, 180.0)  # never parser limits or timeouts
    assert [account.addresses[0] for account in dynamic.accounts.values()] == demo.addresses()
    assert demo.addresses() == ["u0@demo.test", "u1@demo.test", "u2@demo.test"]
    assert {account.junk_filter.mode for account in dynamic.accounts.values()} == {"junk-only"}
    assert {account.max_outgoing_messages_per_day for account in dynamic.accounts.values()} == {0}
    assert {account.max_first_time_recipients_per_day for account in dynamic.accounts.values()} == {0}


def test_a_demo_has_limits_and_bands_unless_told(tmp_path):
    static, dynamic = load_all(write_demo(Demo(tmp_path, 20000)).paths)
    assert static.limits.connections_per_ip == 30 and static.dns.resolver == "none"
    assert dynamic.accounts["u1"].junk_filter.mode == "bands"
    assert dynamic.accounts["u1"].max_outgoing_messages_per_day == 1000


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base_port": 0}, "--base-port 0: allowed are 1 to 64542"),
        ({"base_port": 65000}, "--base-port 65000"),
        ({"accounts": 0}, "--accounts 0"),
        ({"domain": "a b"}, "--domain a b: not a domain name"),
    ],
)
def test_a_demo_that_makes_no_sense_writes_nothing(tmp_path, changes, why):
    with pytest.raises(ConfigError, match=why):
        write_demo(Demo(**{"directory": tmp_path, "base_port": 20000, **changes}))
    assert list(tmp_path.iterdir()) == []


def test_only_a_demo_is_replaced_and_only_by_force(tmp_path):
    demo = Demo(tmp_path, 20000)
    write_demo(demo)
    with pytest.raises(ConfigError, match="--force"):
        write_demo(demo)
    write_demo(Demo(tmp_path, 21000, force=True))
    assert load_all(demo.paths)[0].listeners.smtp == ("127.0.0.1:21025",)
    (demo.paths.config / "demo.json").unlink()
    with pytest.raises(ConfigError, match="is no demo"):
        write_demo(Demo(tmp_path, 21000, force=True))


# -- keys and records ---------------------------------------------------------------


def test_dkim_keys_are_told_by_their_public_parts():
    assert dkim_public(new_dkim_key("ed25519"))[0] == "ed25519"
    algorithm, public = dkim_public(new_dkim_key("rsa"))
    assert algorithm == "rsa" and public.startswith("MIIB")
    with pytest.raises(ValueError):
        dkim_public(b"junk")


def test_passwords_differ_and_are_long():
    made = {new_password() for _ in range(50)}
    assert len(made) == 50 and {len(password) for password in made} == {23}


FACTS = Facts(
    domain="example.com",
    hostname="mail.example.com",
    addresses=("203.0.113.5", "2001:db8::5"),
    dkim=(("2026a", "ed25519", "AAAA"), ("2026b", "rsa", "B" * 392)),
    policy_id="20261122T000000",
    reports="you@example.com",
    submissions=10465,
)
RECORDS = [
    ("mail.example.com.", "A", "203.0.113.5"),
    ("mail.example.com.", "AAAA", "2001:db8::5"),
    ("mail.example.com.", "TXT", '"v=spf1 a -all"'),
    ("example.com.", "MX", "10 mail.example.com."),
    ("example.com.", "TXT", '"v=spf1 mx ~all"'),
    ("2026a._domainkey.example.com.", "TXT", '"v=DKIM1; h=sha256; k=ed25519; p=AAAA"'),
    ("_dmarc.example.com.", "TXT", '"v=DMARC1; p=reject; rua=mailto:you@example.com; fo=1"'),
    ("mta-sts.example.com.", "CNAME", "mail.example.com."),
    ("_mta-sts.example.com.", "TXT", '"v=STSv1; id=20261122T000000"'),
    ("_smtp._tls.example.com.", "TXT", '"v=TLSRPTv1; rua=mailto:you@example.com"'),
    ("autoconfig.example.com.", "CNAME", "mail.example.com."),
    ("_submissions._tcp.example.com.", "SRV", "0 1 10465 mail.example.com."),
    ("_submission._tcp.example.com.", "SRV", "10 1 587 mail.example.com."),
    ("_imaps._tcp.example.com.", "SRV", "0 1 993 mail.example.com."),
    ("_imap._tcp.example.com.", "SRV", "10 1 143 mail.example.com."),
    ("_autodiscover._tcp.example.com.", "SRV", "0 1 443 mail.example.com."),
    ("example.com.", "CAA", '0 issue "letsencrypt.org"'),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_published(record):
    assert record in [found[:3] for found in records(FACTS)]


def test_a_long_key_is_given_in_strings_of_255_bytes():
    record = next(found for found in records(FACTS) if found.name.startswith("2026b"))
    strings = record.value[1:-1].split('" "')
    assert max(map(len, strings)) == 255
    assert "".join(strings) == "v=DKIM1; h=sha256; k=rsa; p=" + "B" * 392


def test_quotes_within_a_string_are_escaped():
    assert quoted('a"b\\') == '"a\\"b\\\\"'


def test_reverse_names():
    assert reverse_notes(FACTS)[0] == "5.113.0.203.in-addr.arpa. PTR mail.example.com."


def test_a_zone_says_what_its_records_are_for():
    lines = zone(records(FACTS))
    exchanger = lines[lines.index("; mail for the domain comes here") + 1]
    assert exchanger.split() == ["example.com.", "MX", "10", "mail.example.com."]
    assert placeholder_notes(records(FACTS)) == []
    unknown = replace(FACTS, addresses=PLACEHOLDERS)
    assert placeholder_notes(records(unknown))[0].startswith("; 192.0.2.1 and 2001:db8::1: put this host's")


def test_every_record_prints_on_one_line():
    assert all("\n" not in str(record) and isinstance(record, Record) for record in records(FACTS))
