"""Reports and results as others would make them, and the schema of RFC 7489 appendix C."""

from __future__ import annotations

import gzip
import io
import zipfile
from base64 import encodebytes
from functools import cache
from pathlib import Path

from lxml import etree

from echomox.delivery.authlog import ResultRow
from echomox.reports.aggregate import Reporter

DAY = "2026-11-21"
BEGIN = 1_795_219_200  # of that day
RECORD = "v=DMARC1; p=reject; sp=quarantine; pct=50; adkim=s; rua=mailto:rua@a.example"
REPORTER = Reporter("Here", "postmaster@here.example", "https://here.example/")
XML = b"""<?xml version="1.0"?>
<feedback>
  <report_metadata>
    <org_name>There</org_name><email>noreply@there.example</email><report_id>r-1</report_id>
    <date_range><begin>1795219200</begin><end>1795305599</end></date_range>
  </report_metadata>
  <policy_published><domain>here.example</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><pct>100</pct>
  </policy_published>
  <record>
    <row><source_ip>192.0.2.1</source_ip><count>3</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>here.example</header_from></identifiers>
    <auth_results><dkim><domain>here.example</domain><selector>s1</selector><result>pass</result></dkim>
      <spf><domain>list.example</domain><result>pass</result></spf></auth_results>
  </record>
  <record>
    <row><source_ip>2001:db8::9</source_ip><count>7</count>
      <policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>here.example</header_from></identifiers>
    <auth_results><spf><domain>bad.example</domain><result>softfail</result></spf></auth_results>
  </record>
</feedback>
"""
TLS = b"""{
  "organization-name": "There", "contact-info": "tls@there.example", "report-id": "t-1",
  "date-range": {"start-datetime": "2026-11-21T00:00:00Z", "end-datetime": "2026-11-21T23:59:59Z"},
  "policies": [{
    "policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing"],
      "policy-domain": "here.example", "mx-host": "*.mail.here.example"},
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
    "failure-details": [
      {"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
       "receiving-mx-hostname": "mx1.mail.here.example", "failed-session-count": 100},
      {"result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
       "receiving-mx-hostname": "mx2.mail.here.example", "receiving-ip": "203.0.113.56",
       "failed-session-count": 200, "additional-information": "https://reports.example/x"},
      {"result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58",
       "receiving-mx-hostname": "mx-backup.mail.here.example", "failed-session-count": 3,
       "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}]}]
}"""
"""After RFC 8460 appendix B."""


@cache
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(file=str(Path(__file__).parents[2] / "data" / "dmarc-aggregate.xsd"))


def result(**changes: object) -> ResultRow:
    """A row of the log of results."""
    values = {
        "day": DAY, "policy_domain": "a.example", "record": RECORD, "policy": "reject", "tag": "p",
        "header_from": "a.example", "envelope_from": "a.example", "source_ip": "192.0.2.1", "disposition": "none",
        "dkim": "pass", "spf": "pass", "override": "", "comment": "",
        "dkim_results": (("a.example", "s1", "pass"),), "spf_result": ("a.example", "mfrom", "pass"),
    }  # fmt: skip
    return ResultRow(**{**values, **changes})  # type: ignore[arg-type]


def zipped(data: bytes, name: str = "r.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def report_mail(data: bytes, kind: str = "application/gzip", name: str = "r.xml.gz") -> bytes:
    """A mail of there.example with an attachment."""
    if name.endswith(".gz"):
        data = gzip.compress(data)
    coded = encodebytes(data).replace(b"\n", b"\r\n")
    return (
        b"From: reports@there.example\r\nTo: dmarc@here.example\r\nSubject: Report\r\nDate: Sun, 22 Nov 2026 01:00:00"
        b" +0000\r\nMessage-ID: <r1@there.example>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
        + f'--b\r\nContent-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'.encode()
        + coded
        + b"--b--\r\n"
    )
