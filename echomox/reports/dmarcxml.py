"""DMARC aggregate reports in: XML of strangers to values (RFC 7489 appendix C; RFC 9990 adds what is ignored here).

Patient about what reporters make of the schema: any namespace, missing parts, elements out of order. Not about bombs: a
document type declaration ends the reading, so there are no entities but the five of XML itself; depth, elements, rows
and text are bounded. Pure; raises BadReport.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from pyexpat import ExpatError, ParserCreate

from echomox.reports.model import TEXT, AggregateReport, AggregateRow, BadReport, Published, clean

SIZE = 25 << 20  # bytes of XML
DEPTH = 12
ELEMENTS = 1_000_000
ROWS = 50_000
RESULTS = 50  # of one row and kind
COUNT = 1_000_000_000  # messages of one row: a year of rows can be added up in 64 bits
TIME = 1 << 40  # seconds


@dataclass(slots=True)
class _Node:
    name: str
    text: str = ""
    children: list[_Node] = field(default_factory=list)

    def all(self, name: str) -> list[_Node]:
        return [child for child in self.children if child.name == name]

    def find(self, *path: str) -> _Node | None:
        node: _Node | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def value(self, *path: str) -> str:
        node = self.find(*path)
        return clean(node.text) if node else ""


class _Builder:
    """Trees of the root's children; a record's tree becomes a row as soon as it is whole."""

    def __init__(self) -> None:
        self.open: list[_Node] = []
        self.elements = 0
        self.rows: list[AggregateRow] = []
        self.root: _Node | None = None

    def start(self, name: str, attributes: object) -> None:
        self.elements += 1
        if self.elements > ELEMENTS:
            raise BadReport("too many elements")
        if len(self.open) >= DEPTH:
            raise BadReport("elements nested too deeply")
        node = _Node(name.rpartition(":")[2])
        if not self.open:
            if node.name != "feedback":
                raise BadReport("the root element is not feedback")
            self.root = node
        elif not (len(self.open) == 1 and node.name == "record"):
            self.open[-1].children.append(node)
        self.open.append(node)

    def end(self, name: str) -> None:
        node = self.open.pop()
        if len(self.open) == 1 and node.name == "record":
            if len(self.rows) >= ROWS:
                raise BadReport(f"more than {ROWS} records")
            self.rows.append(_row(node))

    def text(self, data: str) -> None:
        if self.open and len(self.open[-1].text) < TEXT:
            self.open[-1].text += data[:TEXT]

    def refuse(self, *details: object) -> None:
        raise BadReport("has a document type declaration, which may be a bomb")


def parse_aggregate(data: bytes) -> AggregateReport:
    """The report. Raises BadReport."""
    if len(data) > SIZE:
        raise BadReport(f"more than {SIZE} bytes of XML")
    builder = _Builder()
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    try:
        parser.Parse(data, True)
    except ExpatError as error:
        raise BadReport(f"not XML: {error}") from None
    except (LookupError, UnicodeError, ValueError, RecursionError) as error:
        if isinstance(error, BadReport):
            raise
        raise BadReport(f"not readable: {error}") from None
    if builder.root is None:
        raise BadReport("no XML element")
    return _report(builder.root, tuple(builder.rows))


def _report(root: _Node, rows: tuple[AggregateRow, ...]) -> AggregateReport:
    meta, policy = root.find("report_metadata"), root.find("policy_published")
    if meta is None or policy is None:
        raise BadReport("report_metadata or policy_published is missing")
    domain = policy.value("domain").lower().rstrip(".")
    report_id = meta.value("report_id")
    begin, end = _number(meta.value("date_range", "begin")), _number(meta.value("date_range", "end"))
    if not domain or len(domain) > 255 or not report_id:
        raise BadReport("the policy's domain or the report's id is missing")
    if begin <= 0 or end < begin:
        raise BadReport("the time that it is about is missing or wrong")
    p = policy.value("p") or "none"
    return AggregateReport(
        organisation=meta.value("org_name"),
        email=meta.value("email"),
        contact=meta.value("extra_contact_info"),
        report_id=report_id[:255],
        begin=begin,
        end=end,
        published=Published(
            domain=domain,
            adkim=policy.value("adkim") or "r",
            aspf=policy.value("aspf") or "r",
            p=p,
            sp=policy.value("sp") or p,
            np=policy.value("np"),
            pct=min(_number(policy.value("pct") or "100"), 100),
            fo=policy.value("fo") or "0",
        ),
        rows=rows,
        errors=tuple(clean(node.text) for node in meta.all("error")[:RESULTS]),
    )


def _row(node: _Node) -> AggregateRow:
    evaluated = node.find("row", "policy_evaluated") or _Node("")
    results = node.find("auth_results") or _Node("")
    return AggregateRow(
        source_ip=_address(node.value("row", "source_ip")),
        count=min(_number(node.value("row", "count")), COUNT),
        disposition=evaluated.value("disposition").lower()[:20] or "none",
        dkim="pass" if evaluated.value("dkim").lower() == "pass" else "fail",
        spf="pass" if evaluated.value("spf").lower() == "pass" else "fail",
        header_from=node.value("identifiers", "header_from").lower()[:255],
        envelope_from=node.value("identifiers", "envelope_from").lower()[:255],
        envelope_to=node.value("identifiers", "envelope_to").lower()[:255],
        reasons=tuple((one.value("type")[:40], one.value("comment")) for one in evaluated.all("reason")[:RESULTS]),
        dkim_results=tuple(_three(results, "dkim", "selector")),
        spf_results=tuple(_three(results, "spf", "scope")),
    )


def _three(results: _Node, kind: str, second: str) -> Iterator[tuple[str, str, str]]:
    for one in results.all(kind)[:RESULTS]:
        yield one.value("domain").lower()[:255], one.value(second)[:255], one.value("result").lower()[:20]


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadReport(f"a record's source_ip is no address: {text[:60]!r}") from None


def _number(text: str) -> int:
    """0 for what is no number."""
    return min(int(text), TIME) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
