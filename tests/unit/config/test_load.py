"""Reading: what is good gives values, what is wrong is named by file, line, key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from echomox.config.load import ConfigProblems, find_config, load_all, parse_dynamic, parse_static
from echomox.config.paths import Paths
from echomox.config.schema import Dynamic, Static
from echomox.errors import ConfigError

PLAIN = 'hostname = "mail.example.com"\n[listeners]\nsubmissions = []\nimaps = []\n'
STATIC_FILE, DYNAMIC_FILE = Path("/x/config/echomox.toml"), Path("/x/config/domains.toml")


def static(text: str | bytes) -> Static:
    return parse_static(STATIC_FILE, text.encode() if isinstance(text, str) else text)


def dynamic(text: str | bytes) -> Dynamic:
    return parse_dynamic(DYNAMIC_FILE, text.encode() if isinstance(text, str) else text)


def problems(parse, text: str | bytes) -> list[str]:
    """file:line: key: text, without the file."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [line.split(".toml:", 1)[1] for line in str(caught.value).split("\n")]


def test_missing_options_have_their_defaults():
    read = static(PLAIN)
    assert read.limits == Static().limits
    assert read.listeners.smtp == ("0.0.0.0:25", "[::]:25")
    assert read.listeners.imaps == ()


def test_a_whole_number_is_a_number():
    assert static(PLAIN + "[workers]\ndrain_time = 5\n").workers.drain_time == 5.0


def test_names_are_normalised():
    assert static(PLAIN.replace("mail.example.com", "MAIL.Example.com.")).hostname == "mail.example.com"
    read = dynamic('[domains."B\u00fccher.Example"]\n[accounts.ann]\naddresses = ["ann@b\u00fccher.example"]\n')
    assert list(read.domains) == ["xn--bcher-kva.example"]


def test_line_ends_and_a_byte_order_mark_do_not_matter():
    assert static(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode()) == static(PLAIN)


STATIC_PROBLEMS = {
    # unknown keys
    'hostnam = "a.b"\n' + PLAIN: "1: hostnam: no such key; did you mean `hostname`?",
    PLAIN + "[limits]\nrecipent = 5\n": "6: limits.recipent: no such key; did you mean `recipients`?",
    PLAIN + "[tls]\nzzz = 1\n": (
        "6: tls.zzz: no such key; allowed here: certificate, client_ca, key, minimum, names, session_tickets"
    ),
    # types and ranges
    PLAIN + "[limits]\n\nrecipients = 5\n": "7: limits.recipients: 5 is not allowed; a whole number, at least 100",
    PLAIN + "[limits]\nrecipients = true\n": "6: limits.recipients: true is not allowed; a whole number, at least 100",
    PLAIN + "[limits]\nrecipients = 1e3\n": "6: limits.recipients: 1000.0 is not allowed; a whole number, at least 100",
    PLAIN + "[workers]\nsmtp = 65\n": "6: workers.smtp: 65 is not allowed; a whole number from 0 to 64",
    PLAIN + "[workers]\nstop_time = nan\n": "6: workers.stop_time: nan is not allowed; a number, at least 0",
    PLAIN + "[workers]\nstop_time = inf\n": "6: workers.stop_time: inf is not allowed; a number, at least 0",
    PLAIN + "[logs]\nto_file = 1\n": "6: logs.to_file: 1 is not allowed; true or false",
    PLAIN + "[logs]\nlevel = 5\n": '6: logs.level: 5 is not allowed; one of "trace", "debug", "info", "warn", "error"',
    PLAIN + '[logs]\nlevels = { smtpd = "loud" }\n': (
        '6: logs.levels.smtpd: "loud" is no level; one of trace, debug, info, warn, error'
    ),
    PLAIN + "logs = 3\n": "5: listeners.logs: no such key; allowed here: imap, imaps, smtp, submission, submissions",
    "logs = 3\n" + PLAIN: "1: logs: 3 is not allowed; a table",
    'user = "a\\nb"\n' + PLAIN: '1: user: "a\\u000ab" is not allowed; one line of text in quotes',
    # listeners
    PLAIN + 'smtp = "x"\n': '5: listeners.smtp: "x" is not allowed; a list of texts in quotes',
    PLAIN + "smtp = [7]\n": "5: listeners.smtp[0]: 7 is not allowed; one line of text in quotes",
    PLAIN + 'smtp = ["1.2.3.4:0"]\n': (
        '5: listeners.smtp[0]: "1.2.3.4:0" is not allowed; "ADDRESS:PORT" with a port from 1 to 65535'
    ),
    PLAIN + 'smtp = ["mail:25"]\n': (
        '5: listeners.smtp[0]: "mail:25" is not allowed; '
        '"ADDRESS:PORT" with an IP address, as "0.0.0.0:25" or "[::]:25"'
    ),
    PLAIN + 'smtp = ["::1:25"]\n': (
        '5: listeners.smtp[0]: "::1:25" is not allowed; an IPv6 address stands in brackets, an IPv4 address does not'
    ),
    PLAIN + 'smtp = [\n "1.2.3.4:25"]\nimap = ["1.2.3.4:25"]\n': (
        '7: listeners.imap[0]: "1.2.3.4:25" is taken already by listeners.smtp'
    ),
    # what belongs together
    'hostname = "a.b"\n[listeners]\nsubmissions = []\n': (
        "2: listeners.imaps: needs tls.certificate and tls.key, or an empty list"
    ),
    PLAIN + '[tls]\ncertificate = "a.pem"\n': ("5: tls: certificate and key belong together; tls.key is missing"),
    PLAIN + '[tls]\ncertificate = "nope.pem"\nkey = "x"\n': (
        "6: tls.certificate: /x/config/nope.pem: No such file or directory"
    ),
    PLAIN + '[auth]\nplaintext_from = ["127.0.0.1/8"]\n': (
        "6: auth.plaintext_from[0]: not a network, as 127.0.0.0/8 or ::1/128: 127.0.0.1/8 has host bits set"
    ),
    PLAIN + '[auth]\nmechanisms = ["PLAIN", "PLAIN"]\n': "6: auth.mechanisms: a mechanism is named twice",
    PLAIN + '[dns]\nresolver = "x"\n': (
        '6: dns.resolver: "x" is not allowed; "system", "none" or "ADDRESS:PORT" with a port from 1 to 65535'
    ),
    # names
    PLAIN.replace("mail.example.com", "localhost"): "1: hostname: not a full host name, as mail.example.com",
    PLAIN.replace("mail.example.com", "-a.b"): (
        "1: hostname: not a domain name: labels of letters, digits and hyphens, joined by dots"
    ),
    PLAIN.split("\n", 1)[1]: "1: hostname: missing; the full name of this host, as mail.example.com",
    'user = "no-such-user"\n' + PLAIN: (
        '1: user: no user "no-such-user" on this machine; make it first: useradd -r -M no-such-user'
    ),
    'postmaster = "A b"\n' + PLAIN: (
        "1: postmaster: not an account name; 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit"
    ),
}


@pytest.mark.parametrize("text", STATIC_PROBLEMS)
def test_a_problem_of_echomox_toml_is_named(text):
    assert problems(static, text) == [STATIC_PROBLEMS[text]]


NOT_TOML = {
    b"a = \xff\n": "1: byte 0xff is not UTF-8; a file is UTF-8 text",
    b"a = 1\nb = \xc3(": "2: byte 0xc3 is not UTF-8; a file is UTF-8 text",
    b"a = 1\na = 2\n": "2: not TOML: Cannot overwrite a value",
    b"x = 1\n[a\n": "2: not TOML: Expected ']' at the end of a table declaration",
    b'x = 1\ny = "open': "2: not TOML: Unterminated string, the file ends too early",
    b"\n\nx = " + b"[" * 100: "3: brackets nested deeper than 60",
    b"\nx = " + b"9" * 5000: "2: not TOML: a number or key that is too long",
}


@pytest.mark.parametrize("text", NOT_TOML)
def test_what_is_not_toml_has_a_line(text):
    assert problems(static, text) == [NOT_TOML[text]]


A = '[domains."a.test"]\n'
DYNAMIC_PROBLEMS = {
    A + '[accounts.ann]\naddresses = ["ann@b.test"]\n': (
        '3: accounts.ann.addresses[0]: "ann@b.test": domain b.test is not configured; '
        "`echomox domain add b.test` adds it"
    ),
    A + '[accounts.ann]\naddresses = ["ann@a.test"]\n[accounts.bob]\naddresses = ["Ann@A.test"]\n': (
        '5: accounts.bob.addresses[0]: "Ann@A.test" belongs to account ann already'
    ),
    A + '[accounts.ann]\naddresses = ["@a.test", "@A.test"]\n': (
        '3: accounts.ann.addresses[1]: "@A.test" belongs to this account already'
    ),
    A + '[accounts.ann]\naddresses = ["ann"]\n': '3: accounts.ann.addresses[0]: "ann" is not an address: no @ in it',
    A + '[accounts.ann]\naddresses = ["a b@a.test"]\n': (
        '3: accounts.ann.addresses[0]: "a b@a.test" is not an address: '
        "the local part has characters that need quotes, or a dot too many"
    ),
    A + '[accounts.ann]\naddresses = ["ann+x@a.test"]\n': (
        '3: accounts.ann.addresses[0]: "ann+x@a.test": has a separator of its domain (+) in it, '
        "so it would never be reached"
    ),
    A + "[accounts.ann.junk_filter]\njunk = 0.9\n": (
        "2: accounts.ann.junk_filter: junk (0.9) may not be above reject (0.8)"
    ),
    A + '[accounts.ann.junk_filter]\nweights = ["affect=0", "odd=1"]\n': (
        '3: accounts.ann.junk_filter.weights[1]: "odd=1" is no weight, as "affect=0.1", from 0 to 2, of bayes, ngrams, '
        "esn, membranes, affect, reputation, auth"
    ),
    A + '[accounts."../x"]\n': (
        '2: accounts."../x": not an account name; 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit'
    ),
    A + '[domains."A.TEST"]\n': '2: domains."A.TEST": the same domain as a.test, which is there already',
    '[domains."a b"]\n': ('1: domains."a b": not a domain name: labels of letters, digits and hyphens, joined by dots'),
    A + 'separators = ["++"]\n': '2: domains."a.test".separators[0]: one character of +-_.=#!~^',
    A + '[[domains."a.test".dkim]]\nselector = "x"\nkey = "no.pem"\n': (
        '4: domains."a.test".dkim[0].key: /x/config/no.pem: No such file or directory'
    ),
    A + '[[domains."a.test".dkim]]\nkey = "/dev/null"\n': (
        '2: domains."a.test".dkim[0].selector: missing or not a domain name\'s label, as 2026a'
    ),
    A + '[[domains."a.test".dkim]]\nselector = "x"\n': (
        '2: domains."a.test".dkim[0].key: missing; the PEM file of the private key'
    ),
    A + "seperators = []\n": '2: domains."a.test".seperators: no such key; did you mean `separators`?',
}


@pytest.mark.parametrize("text", DYNAMIC_PROBLEMS)
def test_a_problem_of_domains_toml_is_named(text):
    assert problems(dynamic, text) == [DYNAMIC_PROBLEMS[text]]


def test_all_problems_are_named_at_once_by_line():
    text = "[limits]\nmime_parts = 1\n" + '[tls]\nminimum = "1.1"\n' + "[nope]\n"
    found = problems(static, text)
    assert [line.split(":")[0] for line in found] == sorted(line.split(":")[0] for line in found)
    assert {line.split(": ")[1] for line in found} >= {"limits.mime_parts", "tls.minimum", "nope", "hostname"}


def test_a_certificate_must_match_its_key(tmp_path):
    import datetime

    from echomox.config.keys import self_signed

    now = datetime.datetime.now(datetime.UTC)
    one, other = self_signed(["a.test"], now), self_signed(["b.test"], now)
    for name, data in (("one.crt", one[0]), ("one.key", one[1]), ("other.key", other[1]), ("junk", b"junk")):
        (tmp_path / name).write_bytes(data)
    file = tmp_path / "echomox.toml"

    def read(certificate: str, key: str) -> Static:
        tls = f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        return parse_static(file, (PLAIN + tls).encode())

    assert read("one.crt", "one.key").tls.certificate == str(tmp_path / "one.crt")
    with pytest.raises(ConfigProblems, match=r"other.key is not the key of"):
        read("one.crt", "other.key")
    with pytest.raises(ConfigProblems, match="no PEM certificate with key"):
        read("junk", "one.key")


# -- finding ------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    paths = Paths.home(tmp_path / "mail")
    paths.config.mkdir(parents=True)
    paths.static.write_text(PLAIN)
    paths.dynamic.write_text('[domains."a.test"]\n')
    return paths


@pytest.mark.parametrize("given", ["", "config", "config/echomox.toml"])
def test_config_is_found_by_file_directory_or_root(home, given, monkeypatch):
    monkeypatch.delenv("ECHOMOX_CONFIG", raising=False)
    root = home.config.parent
    assert find_config(str(root / given)) == home
    monkeypatch.setenv("ECHOMOX_CONFIG", str(root / given))
    assert find_config() == home
    monkeypatch.delenv("ECHOMOX_CONFIG")
    monkeypatch.chdir(root)
    assert find_config() == home


def test_fhs_layout_follows_from_the_name(tmp_path):
    paths = Paths.fhs(tmp_path)
    paths.config.mkdir(parents=True)
    paths.static.write_text(PLAIN)
    assert find_config(str(paths.config)) == find_config(str(tmp_path)) == paths
    assert paths.data == tmp_path / "var/lib/echomox"


@pytest.mark.parametrize("given", ["/nowhere", "/nowhere/echomox.toml", "a\0b"])
def test_a_missing_config_says_how_to_make_one(given):
    with pytest.raises(ConfigError, match="quickstart"):
        find_config(given)


def test_a_config_that_is_closed_to_us_is_not_taken_for_none(home, monkeypatch):
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(ConfigError, match="not open to you; run this as root"):
        find_config(str(home.config))


def test_a_place_that_is_closed_to_us_does_not_hide_the_configuration_of_the_system(home, monkeypatch, tmp_path):
    """As for `sudo -u echomox echomox status`, typed in /root."""
    real = Path.is_file

    def refuse(path: Path) -> bool:
        if path.is_relative_to(tmp_path / "closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    (tmp_path / "closed").mkdir()
    monkeypatch.chdir(tmp_path / "closed")
    monkeypatch.delenv("ECHOMOX_CONFIG", raising=False)
    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr("echomox.config.load.SYSTEM", home.config)
    assert find_config() == home
    monkeypatch.setattr("echomox.config.load.SYSTEM", tmp_path / "none")
    with pytest.raises(ConfigError, match="closed/config: not open to you"):
        find_config()


def test_problems_of_both_files_come_together(home):
    home.static.write_text("hostnam = 1\n")
    home.dynamic.write_text("[accounts.x]\nquota = -1\n")
    with pytest.raises(ConfigProblems) as caught:
        load_all(home)
    files = {file for file, *_ in caught.value.problems}
    assert files == {str(home.static), str(home.dynamic)}


def test_the_postmaster_must_be_an_account(home):
    home.static.write_text('postmaster = "ann"\n' + PLAIN)
    with pytest.raises(ConfigProblems, match=r'echomox.toml:1: postmaster: no account "ann" in domains.toml'):
        load_all(home)


def test_a_file_that_is_not_there_is_named(home):
    home.dynamic.unlink()
    with pytest.raises(ConfigProblems, match=r"domains.toml:1: not readable: No such file or directory"):
        load_all(home)
