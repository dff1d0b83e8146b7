"""Dates (RFC 5322 3.3, 4.3, appendix A; RFC 9051 date-time)."""

import pytest

from echomox.message.date import format_date, format_internal, parse_date, parse_internal


@pytest.mark.parametrize(
    "text, seconds, day",
    [
        # RFC 5322 appendix A
        ("Fri, 21 Nov 1997 09:55:06 -0600", 880127706, "1997-11-21"),
        ("Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, "2003-07-01"),
        ("Thu, 13 Feb 1969 23:32:54 -0330", -27723426, "1969-02-13"),
        (
            "Thu,\r\n   13\r\n     Feb\r\n       1969\r\n   23:32\r\n            -0330 (Newfoundland Time)",
            -27723480,
            "1969-02-13",
        ),
        ("21 Nov 97 09:55:06 GMT", 880106106, "1997-11-21"),
        ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, "1997-11-21"),
        # RFC 5322 4.3
        ("21 Nov 97 09:55:06 EST", 880124106, "1997-11-21"),
        ("21 Nov 97 09:55:06 PDT", 880131306, "1997-11-21"),
        ("21 Nov 97 09:55:06 A", 880106106, "1997-11-21"),
        ("1 Jan 49 00:00:00 +0000", 2493072000, "2049-01-01"),
        ("1 Jan 102 00:00:00 +0000", 1009843200, "2002-01-01"),
        ("Wed, 01 May 0102 08:40:01 +0800", 1020213601, "2002-05-01"),
        # in use
        ("Sun, 22 Nov 2026 07:40:46 +0000 (UTC)", 1795333246, "2026-11-22"),
        ("Sun Nov 22 07:40:46 2026", 1795333246, "2026-11-22"),
        ("Sun Nov 22 07:40:46 GMT 2026", 1795333246, "2026-11-22"),
        ("Sunday, 22-Nov-26 07:40:46 GMT", 1795333246, "2026-11-22"),
        ("22 November 2026 7:40", 1795333200, "2026-11-22"),
        ("Sun,22 Nov 2026 07:40:46+0000", 1795333246, "2026-11-22"),
        ("Sun, 22 Nov 2026 07:40:60 +0000", 1795333259, "2026-11-22"),
        ("Sun, 22 Nov 2026 07:40:46 GMT+0100", 1795329646, "2026-11-22"),
        ("Sat, 8 Jun 2002 1:5:13 -0500", 1023516313, "2002-06-08"),
        ("Sun, 22 Nov 2026 07.40.46 +0000", 1795333246, "2026-11-22"),
    ],
)
def test_dates_are_read_with_patience(text, seconds, day):
    found = parse_date(text.replace("\r\n", ""))
    assert found is not None
    assert (found.seconds, found.day) == (seconds, day)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "31 Feb 2026 00:00:00 +0000",
        "1 Foo 2026 00:00:00 +0000",
        "1 Jan 2026 24:00:00 +0000",
        "1 Jan 2026 00:60:00 +0000",
        "0 Jan 2026 00:00:00 +0000",
        "2026-11-22T07:40:46Z",
        "(" * 1000,
        "1 Jan 2026",
        "1 Jan 0000 00:00:00",
    ],
)
def test_garbage_is_no_date(text):
    assert parse_date(text) is None


@pytest.mark.parametrize("seconds", [0.0, 1795333246.0, -86400.0, 951782400.0])
@pytest.mark.parametrize("zone", [0, 60, -210, 840, -720])
def test_written_dates_are_read_back(seconds, zone):
    for written, read in ((format_date, parse_date), (format_internal, parse_internal)):
        found = read(written(seconds, zone))
        assert found is not None
        assert (found.seconds, found.zone) == (seconds, zone)


def test_form_of_written_dates():
    assert format_date(1795333246.9) == "Sun, 22 Nov 2026 07:40:46 +0000"
    assert format_date(1795333246, -330) == "Sun, 22 Nov 2026 02:10:46 -0530"
    assert format_internal(1795333246) == "22-Nov-2026 07:40:46 +0000"
    assert format_internal(1793520000) == " 1-Nov-2026 08:00:00 +0000"


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("17-Jul-1996 02:44:25 -0700", 837596665.0),
        (" 1-Nov-2026 08:00:00 +0000", 1793520000.0),
        ("1-Nov-2026 08:00:00 +0000", 1793520000.0),
    ],
)
def test_internal_date_is_read(text, seconds):
    found = parse_internal(text)
    assert found is not None and found.seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17-Jul-1996",
        "17-Jul-1996 02:44:25",
        "32-Jul-1996 02:44:25 -0700",
        "17-Foo-1996 02:44:25 -0700",
        "17-Jul-1996 02:44:25 -0700 ",
    ],
)
def test_what_is_no_internal_date(text):
    assert parse_internal(text) is None
