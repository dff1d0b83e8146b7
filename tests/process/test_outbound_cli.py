"""`echomox smtp|dane|mtasts|tlsrpt` as a person uses them: a real server as the host that is looked at, DNS and an
HTTPS host for the policy beside it, all on loopback."""

import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading

import pytest
import trustme

from tests.process.dnsserver import DnsServer
from tests.process.harness import Server, command

POLICY = b"version: STSv1\r\nmode: testing\r\nmx: mail.example.test\r\nmax_age: 86400\r\n"


REGISTERED = {
    "objectClassName": "domain",
    "ldhName": "example.test",
    "events": [{"eventAction": "registration", "eventDate": "2001-02-03T04:05:06Z"}],
    "entities": [{"roles": ["registrar"], "vcardArray": ["vcard", [["fn", {}, "text", "A Registrar"]]]}],
    "nameservers": [{"ldhName": "ns.example.test"}],
    "status": ["active"],
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def _rdap(self):
        """RFC 9224 and RFC 9083, of one domain."""
        host = self.headers["Host"]
        found = {
            "/dns.json": {"services": [[["test"], [f"https://{host}/rdap/"]]]},
            "/rdap/domain/example.test": REGISTERED,
        }.get(self.path)
        body = json.dumps(found or {"errorCode": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/rdap+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.headers["Host"].startswith("rdap.example.test"):
            self._rdap()
            return
        right = self.path == "/.well-known/mta-sts.txt" and self.headers["Host"].startswith("mta-sts.example.test")
        self.send_response(200 if right else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(POLICY)))
        self.end_headers()
        self.wfile.write(POLICY)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def policy_host(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("mta-sts.example.test", "rdap.example.test").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """run(arguments) -> (exit code, output)."""
    root = tmp_path_factory.mktemp("demo")
    ca = trustme.CA()
    with policy_host(ca) as https, DnsServer(secure=True) as dns:
        server = Server.demo(root)
        ca_file = root / "config" / "ca.pem"
        ca.cert_pem.write_to_path(str(ca_file))
        static = root / "config" / "echomox.toml"
        text = static.read_text().replace('resolver = "none"', f'resolver = "{dns.address}"')
        smtp = server.ports["smtp"]
        url = f"https://rdap.example.test:{https}/dns.json"
        text = text.replace("[dns]\n", f'[dns]\nrdap_bootstrap = "{url}"\n', 1)
        static.write_text(f'{text}\n[outbound]\nport = {smtp}\nhttps_port = {https}\nca_file = "ca.pem"\n')

        def run(*arguments):
            done = subprocess.run(
                [*command("echomox"), "--config", str(root / "config"), *arguments],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            return done.returncode, done.stdout + done.stderr

        _, record = run("dane", "makerecord", str(root / "config/tls/demo.crt"), "--port", str(smtp))
        name, _, value = record.strip().partition(" TLSA ")
        dns.add(f"""
            example.test.          MX    10 mail.example.test.
            mail.example.test.     A     127.0.0.1
            {name}                 TLSA  {value}
            mta-sts.example.test.  A     127.0.0.1
            rdap.example.test.     A     127.0.0.1
            _mta-sts.example.test. TXT   "v=STSv1; id=abc1;"
            _smtp._tls.example.test. TXT "v=TLSRPTv1; rua=mailto:tls@example.test"
        """)
        with server:
            run.dns, run.port, run.record, run.server = dns, smtp, name.rstrip("."), server
            yield run


def test_dial_tells_every_step(world):
    code, text = world("smtp", "dial", "example.test")
    assert code == 0, text
    assert "example.test MX 10 mail.example.test" in text
    assert "DNSSEC of the MX records: secure" in text
    assert "MTA-STS policy: testing, for mail.example.test" in text
    assert f"mail.example.test [127.0.0.1]:{world.port} dane: TLSv1.3" in text
    assert "REQUIRETLS" in text


def test_send_delivers_with_dane(world):
    to = world.server.accounts[0]["address"]
    code, text = world("--json", "smtp", "send", "example.test", "--from", "a@b.example", "--to", to)
    assert code == 0, text
    (outcome,) = json.loads(text)["outcomes"]
    assert (outcome["kind"], outcome["policy"], outcome["tls"]) == ("delivered", "dane", "TLSv1.3")
    code, text = world("smtp", "send", "example.test", "--to", "nobody@example.test")
    assert (code, "failed: 550" in text) == (1, True)


def test_dane_of_the_live_handshake(world):
    code, text = world("dane", "check", f"mail.example.test:{world.port}")
    assert (code, "matches 3 1 1" in text, "DNSSEC: secure" in text) == (0, True, True)
    world.dns.secure = False
    try:
        code, text = world("dane", "dial", f"mail.example.test:{world.port}")
        assert (code, "NOT secure" in text) == (1, True)
    finally:
        world.dns.secure = True
    code, text = world("dane", "check", f"mail.example.test:{world.port}", "--record", "3 1 1 " + "00" * 32)
    assert (code, "FAIL the certificate matches no TLSA record" in text) == (1, True)


def test_a_wrong_tlsa_record_stops_the_mail(world):
    _, right = world("dane", "makerecord", str(world.server.root / "config/tls/demo.crt"))
    world.dns.put(world.record, "TLSA", "3 1 1 " + "00" * 32)
    try:
        code, text = world("smtp", "send", "example.test", "--to", world.server.accounts[0]["address"])
        assert (code, "retry: 451 4.7.5" in text) == (1, True), text
    finally:
        world.dns.put(world.record, "TLSA", right.strip().partition(" TLSA ")[2])


def test_mta_sts(world):
    code, text = world("mtasts", "lookup", "example.test")
    assert (code, "mode: testing" in text) == (0, True), text
    code, text = world("mtasts", "policy", "example.test")
    assert (code, text.splitlines()[0]) == (0, "version: STSv1")
    code, text = world("mtasts", "list")
    assert code == 0
    code, text = world("mtasts", "refresh")
    assert (code, text.startswith("0 policies got")) == (0, True)
    code, text = world("mtasts", "policy", "elsewhere.example")
    assert (code, "no domain elsewhere.example" in text) == (1, True)


def test_tlsrpt(world):
    assert world("tlsrpt", "lookup", "example.test") == (0, "mailto:tls@example.test\n")
    code, text = world("tlsrpt", "lookup", "mail.example.test")
    assert (code, "has no TLSRPT record" in text) == (1, True)


WRONG = [
    ("smtp", "dial", "nowhere.example"), ("smtp", "dial", "[999.1.1.1]"), ("dane", "check", "nowhere.example"),
    ("mtasts", "lookup", "nowhere.example"), ("smtp", "send", "example.test", "--to", "a b@example.test"),
    ("dane", "check", "mail.example.test:99999"), ("dane", "check", "x" * 300), ("smtp", "dial", "a..b"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG)
def test_what_cannot_be_is_said_in_a_line(world, arguments):
    code, text = world(*arguments)
    assert code in (1, 2)
    assert "Traceback" not in text
    assert text.strip()


def test_a_port_where_nothing_listens(world):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"mail.example.test:{free.getsockname()[1]}"
        code, text = world("dane", "check", host, "--record", "3 1 1 " + "00" * 32)
    assert (code, "FAIL" in text) == (1, True)


def test_what_a_registry_says_of_a_domain(world):
    code, text = world("--json", "rdap", "mail.Example.test")
    assert code == 0, text
    found = json.loads(text)
    assert (found["domain"], found["registered"], found["registrar"]) == (
        "example.test", "2001-02-03T04:05:06Z", "A Registrar"
    )  # fmt: skip
    assert found["age_days"] > 9000 and found["nameservers"] == ["ns.example.test"] and found["status"] == ["active"]
    code, text = world("rdap", "example.test", "--steps")
    assert (code, "got 0.0 h ago" in text, "A Registrar" in text) == (0, True, True), text
    code, text = world("rdap", "other.test")
    assert (code, "other.test is not registered" in text) == (1, True), text
    code, text = world("rdap", "example.nowhere")
    assert (code, "has no RDAP server" in text) == (1, True), text
    code, text = world("rdap", "example.test", "--server", "http://rdap.example.test/")
    assert (code, "not a usable https address" in text) == (2, True), text
    assert world("rdap", "two words")[0] == 2
