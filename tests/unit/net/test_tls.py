"""Contexts and what a handshake says: certificates by name, channel binding, client certificates, tickets."""

import hashlib
import ssl
from pathlib import Path

import pytest
import trustme

from echomox.config.schema import Certificate, Tls
from echomox.errors import ConfigError
from echomox.net.tls import NO_CHANNEL, channel_of, end_point, server_context


class Files:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(root / "ca.pem"))
        self.certificates = {}
        for name in ("mx.example.org", "mail.example.net", "*.example.com"):
            self.certificates[name] = self.ca.issue_cert(name)
            self.certificates[name].private_key_and_cert_chain_pem.write_to_path(str(root / f"{name[-11:]}.pem"))

    def tls(self, **more) -> Tls:
        names = {
            "mail.example.net": Certificate("example.net.pem", "example.net.pem"),
            "*.example.com": Certificate("example.com.pem", "example.com.pem"),
        }
        return Tls(certificate="example.org.pem", key="example.org.pem", names=names, **more)

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root / "ca.pem"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("tls"))


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake in memory."""
    ends = []
    wires = [ssl.MemoryBIO() for _ in range(4)]
    ends.append(server.wrap_bio(wires[0], wires[1], server_side=True))
    ends.append(client.wrap_bio(wires[2], wires[3], server_hostname=name))
    done = [False, False]
    for _ in range(10):
        for place, end in enumerate(ends):
            if not done[place]:
                try:
                    end.do_handshake()
                    done[place] = True
                except ssl.SSLWantReadError:
                    pass
            wires[2 - 2 * place].write(wires[1 + 2 * place].read())
    assert all(done)
    return ends[0], ends[1]


@pytest.mark.parametrize(
    "asked, shown",
    [
        ("mx.example.org", "mx.example.org"),
        ("mail.example.net", "mail.example.net"),
        ("MAIL.example.net", "mail.example.net"),
        ("a.example.com", "*.example.com"),
        ("a.b.example.com", "mx.example.org"),
        ("other.example", "mx.example.org"),
    ],
)
def test_the_certificate_is_that_of_the_name_asked_for(files, asked, shown):
    server = server_context(files.tls(), files.root)
    client = files.client()
    client.check_hostname = False
    ours, theirs = shake(server, client, asked)
    certificate = theirs.getpeercert(binary_form=True)
    expected = ssl.PEM_cert_to_DER_cert(files.certificates[shown].cert_chain_pems[0].bytes().decode())
    assert certificate == expected
    assert channel_of(ours).end_point == hashlib.sha256(certificate).digest()


def test_one_context_for_the_same_files(files):
    assert server_context(files.tls(), files.root) is server_context(files.tls(), files.root)
    assert server_context(files.tls(), files.root) is not server_context(files.tls(minimum="1.3"), files.root)
    assert server_context(Tls()) is None


def test_versions(files):
    old = files.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(server_context(files.tls(), files.root), old, "mx.example.org")[0].version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        shake(server_context(files.tls(minimum="1.3"), files.root), old, "mx.example.org")


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_tickets_are_a_switch(files, tickets, version):
    client = files.client()
    client.maximum_version = version
    _, theirs = shake(server_context(files.tls(session_tickets=tickets), files.root), client, "mx.example.org")
    try:
        theirs.read(1)
    except ssl.SSLWantReadError:
        pass
    assert theirs.session.has_ticket is tickets


def test_client_certificates(files):
    tls = files.tls(client_ca="ca.pem")
    mine = files.ca.issue_cert("someone@example.org")
    client = files.client()
    mine.configure_cert(client)
    ours, _ = shake(server_context(tls, files.root, clients=True), client, "mx.example.org")
    der = ssl.PEM_cert_to_DER_cert(mine.cert_chain_pems[0].bytes().decode())
    assert channel_of(ours).client == hashlib.sha256(der).hexdigest()
    ours, _ = shake(server_context(tls, files.root, clients=True), files.client(), "mx.example.org")
    assert channel_of(ours).client == ""
    ours, _ = shake(server_context(tls, files.root), client, "mx.example.org")
    assert channel_of(ours).client == ""
    stranger = files.client()
    trustme.CA().issue_cert("someone@example.org").configure_cert(stranger)
    with pytest.raises(ssl.SSLError):
        shake(server_context(tls, files.root, clients=True), stranger, "mx.example.org")


def test_a_listed_certificate_needs_no_authority(files):
    mine = trustme.CA().issue_cert("self@example.org")
    mine.cert_chain_pems[0].write_to_path(str(files.root / "listed.pem"))
    client = files.client()
    mine.configure_cert(client)
    server = server_context(files.tls(client_ca="listed.pem"), files.root, clients=True)
    ours, _ = shake(server, client, "mx.example.org")
    assert channel_of(ours).client


def test_no_tls_no_channel():
    assert channel_of(None) is NO_CHANNEL


@pytest.mark.parametrize("changes", [{"client_ca": "none.pem"}, {"certificate": "none.pem"}, {"key": "ca.pem"}])
def test_files_that_cannot_be_used_are_named(files, changes):
    from dataclasses import replace

    with pytest.raises(ConfigError, match=r"none\.pem|ca\.pem"):
        server_context(replace(files.tls(), **changes), files.root, clients=True)


def test_end_point_of_no_certificate():
    with pytest.raises(ValueError):
        end_point("nothing")
