"""Transports and routes: what is taken and what is refused, with the line it stands on."""

from __future__ import annotations

import pytest

from echomox.config.load import ConfigProblems, parse_dynamic, parse_static
from echomox.config.schema import Route

HERE = '[domains."a.test"]\n'


def test_transports_and_routes_at_every_level(tmp_path):
    (tmp_path / "secret").write_text("pw\n")
    text = f"""{HERE}
[[domains."a.test".routes]]
to_domains = [".b.test"]
transport = "relay"
[accounts.ann]
addresses = ["ann@a.test"]
[[accounts.ann.routes]]
transport = "no"
[[routes]]
from_domains = ["*"]
minimum_attempt = 3
transport = "relay"
[transports.relay]
kind = "submission"
host = "relay.b.test"
user = "u"
password_file = "secret"
[transports.no]
kind = "fail"
code = 450
"""
    dynamic = parse_dynamic(tmp_path / "domains.toml", text.encode())
    assert dynamic.transports["relay"].password_file == str(tmp_path / "secret")
    assert dynamic.routes == (Route(("*",), (), 3, "relay"),)
    assert dynamic.domains["a.test"].routes[0].to_domains == (".b.test",)
    assert dynamic.accounts["ann"].routes[0].transport == "no"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[routes]]\ntransport = "x"\n', 'no transport "x"; there are: none'),
        ('[transports.t]\nkind = "smtp"\n', "smtp needs one"),
        ('[transports.t]\nkind = "direct"\nhost = "h.test"\n', "has neither host nor port"),
        ('[transports.t]\nkind = "smtp"\nhost = "-"\n', "neither a host name nor an address"),
        ('[transports.t]\nkind = "smtp"\nhost = "h.test"\nuser = "u"\n', "password_file"),
        ('[transports.t]\nkind = "smtp"\nhost = "h.test"\nuser = "u"\npassword_file = "gone"\n', "gone: No such file"),
        ('[transports."a b"]\n', "letters, digits"),
        ('[transports.t]\n[[routes]]\ntransport = "t"\nto_domains = ["a..b"]\n', '"a..b": a domain'),
        ('[transports.t]\ncode = 250\n', "from 400 to 599"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigProblems, match="domains.toml:"[:12]) as error:
        parse_dynamic(tmp_path / "domains.toml", (HERE + text).encode())
    assert said in str(error.value)


@pytest.mark.parametrize("schedule", ["[]", "[-1]", '["soon"]', "[3000000]"])
def test_a_schedule_that_is_none(tmp_path, schedule):
    text = f'hostname = "mail.a.test"\n[listeners]\nsubmissions = []\nimaps = []\n[queue]\nschedule = {schedule}\n'
    with pytest.raises(ConfigProblems) as error:
        parse_static(tmp_path / "echomox.toml", text.encode())
    assert "schedule" in str(error.value)
