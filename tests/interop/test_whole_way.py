"""A sample of every shape of mail goes the whole way, by clients that are not ours, and comes back byte for byte."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.corpus import sample
from tests.interop import whole_way
from tests.interop.tools import need, run


@pytest.fixture(scope="module")
def delivered(server) -> whole_way.Delivered:
    mails = [(one.name, one.data) for one in sample.messages()]
    return whole_way.deliver(server.ports["smtp"], server.accounts[2]["address"], mails)


def test_every_shape_is_accepted(delivered):
    assert delivered.refused == []
    assert sum(delivered.digests.values()) == len(sample.messages())


def test_imaplib_reads_the_same_bytes(server, delivered):
    user = server.accounts[2]
    found = list(whole_way.read_imap(server.ports["imap"], user["address"], user["password"], "INBOX"))
    lost, strange = whole_way.missing(delivered.digests, [data for _, data in found])
    assert (lost, strange) == (Counter(), 0)
    for line, data in found:
        size = re.search(rb"RFC822\.SIZE (\d+)", line)
        assert size and int(size[1]) == len(data)


def test_nothing_went_to_junk_without_evidence(server, delivered):
    user = server.accounts[2]
    assert list(whole_way.read_imap(server.ports["imap"], user["address"], user["password"], "Junk")) == []


def test_mbsync_pulls_the_same_bytes(server, delivered, tmp_path: Path):
    need("mbsync")
    user = server.accounts[2]
    whole_way.mbsync(tmp_path, server.ports["imap"], user["address"], user["password"])
    lost, strange = whole_way.missing(delivered.digests, whole_way.read_maildir(tmp_path))
    assert (lost, strange) == (Counter(), 0)


def test_mbsync_over_tls_with_scram_or_cram(server, delivered, tmp_path: Path):
    need("mbsync")
    user = server.accounts[2]
    whole_way.mbsync(tmp_path, server.ports["imaps"], user["address"], user["password"],
                     ssl="IMAPS", certificate=str(server.certificate), mechanism="*")  # fmt: skip
    lost, strange = whole_way.missing(delivered.digests, whole_way.read_maildir(tmp_path))
    assert (lost, strange) == (Counter(), 0)


def test_a_second_mbsync_run_changes_nothing(server, delivered, tmp_path: Path):
    need("mbsync")
    user = server.accounts[2]
    for _ in range(2):
        whole_way.mbsync(tmp_path, server.ports["imap"], user["address"], user["password"])
    assert len(list(whole_way.read_maildir(tmp_path))) == len(sample.messages())


@pytest.mark.parametrize("name, data", sample.refused(), ids=[name for name, _ in sample.refused()])
def test_bad_mail_is_refused_for_good(server, name: str, data: bytes):
    done = whole_way.deliver(server.ports["smtp"], server.accounts[3]["address"], [(name, data)])
    assert not done.digests
    assert [code // 100 for _, code, _ in done.refused] == [5]


def test_offlineimap_pulls_all(server, delivered, tmp_path: Path):
    program = need("offlineimap")
    user = server.accounts[2]
    (tmp_path / "rc").write_text(
        f"[general]\naccounts = em\nmetadata = {tmp_path}/meta\n"
        "[Account em]\nlocalrepository = l\nremoterepository = r\n"
        f"[Repository l]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\n"
        f"[Repository r]\ntype = IMAP\nremotehost = 127.0.0.1\nssl = no\nstarttls = no\n"
        f"remoteport = {server.ports['imap']}\nremoteuser = {user['address']}\nremotepass = {user['password']}\n"
        "auth_mechanisms = PLAIN\n"
    )
    text = run([program, "-c", tmp_path / "rc", "-o", "-u", "basic"], timeout=120)
    assert "ERROR" not in text and "WARNING" not in text, text
    pulled = [p for p in (tmp_path / "mail").rglob("*") if p.is_file() and p.parent.name in ("cur", "new")]
    assert len(pulled) == len(sample.messages())
