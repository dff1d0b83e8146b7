"""TLSRPT: the record that asks for reports (RFC 8460 3)."""

import pytest

from echomox.tlspolicy.tlsrpt import BadRecord, parse_record

RECORDS = [
    ([b"v=TLSRPTv1;rua=mailto:reports@example.com"], ("mailto:reports@example.com",)),
    ([b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"], ("https://reporting.example.com/v1/tlsrpt",)),
    ([b"v=TLSRPTv1; rua=mailto:a@b.c, https://d.e/ ,ftp://no"], ("mailto:a@b.c", "https://d.e/")),
    ([b"other", b"v=TLSRPTv1; x=y; rua=mailto:a@b.c;"], ("mailto:a@b.c",)),
    ([b"v=TLSRPTv12; rua=mailto:a@b.c"], ()),
    ([], ()),
]


@pytest.mark.parametrize("values, expected", RECORDS)
def test_record(values, expected):
    assert parse_record(values) == expected


@pytest.mark.parametrize(
    "values",
    [[b"v=TLSRPTv1"], [b"v=TLSRPTv1; rua="], [b"v=TLSRPTv1; rua=mailto:nobody"], [b"v=TLSRPTv1; rua=http://a"],
     [b"v=TLSRPTv1; rua=mailto:a@b.c"] * 2, [b"v=TLSRPTv1; rua=https://[::1"]],
)  # fmt: skip
def test_record_that_is_wrong(values):
    with pytest.raises(BadRecord):
        parse_record(values)
