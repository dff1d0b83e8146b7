"""One MIME entity as the splitter (`mime`) saw it: a node of the tree from which `bodystructure` writes.
Lives for one parse."""

from __future__ import annotations

from echomox.message.parameters import Parameters


class Entity:
    """Offsets are into the file. type, subtype: as written, or what they are taken for when the parts cannot be
    shown (too deep, too many, no boundary). path: "" for a message's root that is a multipart."""

    __slots__ = (
        "children",
        "disposition",
        "disposition_parameters",
        "encoding",
        "end",
        "fields",
        "header_end",
        "inner",
        "lines",
        "parameters",
        "path",
        "start",
        "subtype",
        "type",
    )

    def __init__(self, path: str, start: int, header_end: int, fields: dict[bytes, bytes]) -> None:
        self.path = path
        self.start = start
        self.header_end = header_end
        self.end = header_end
        self.fields = fields
        self.type = b"text"
        self.subtype = b"plain"
        self.parameters: Parameters = []
        self.encoding = b""
        self.disposition = b""
        self.disposition_parameters: Parameters = []
        self.lines = 0
        self.children: list[Entity] = []
        """Parts of a multipart, in order; empty for a leaf."""
        self.inner: Entity | None = None
        """The message inside a message/rfc822."""
