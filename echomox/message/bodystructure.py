"""ENVELOPE, BODY and BODYSTRUCTURE, ready for the wire (RFC 9051 7.5.2, RFC 3501 7.4.2), written from the
splitter's tree.

Values are raw, as the RFC asks: encoded words stay encoded, only folds are taken out and RFC 2231 pieces
joined (RFC 2231 6). Strings are quoted, or literals where they hold 8-bit bytes, CR, LF or are long. NUL
cannot be sent and becomes 0x80.
"""

from __future__ import annotations

from echomox.message.address import Address, address_text, envelope_list, parse_addresses
from echomox.message.entity import Entity
from echomox.message.header import DEFAULT, Limits
from echomox.message.parameters import Parameters, token
from echomox.message.wire import imap_string, nstring

Fields = dict[bytes, bytes]
Lists = dict[bytes, list[Address]]

MESSAGES = (b"rfc822", b"global")


def address_lists(fields: Fields, limits: Limits = DEFAULT) -> Lists:
    """The address fields that are there, parsed."""
    return {
        name: parse_addresses(address_text(fields[name]), limits.addresses)
        for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
        if name in fields
    }


def envelope(fields: Fields, lists: Lists) -> bytes:
    """The ten members of ENVELOPE. sender and reply-to without an address are taken from from."""
    sender = envelope_list(lists.get(b"from", ()))
    get, wire = fields.get, envelope_list
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(get(b"date")),
        nstring(get(b"subject")),
        sender,
        wire(lists[b"sender"]) if lists.get(b"sender") else sender,
        wire(lists[b"reply-to"]) if lists.get(b"reply-to") else sender,
        wire(lists.get(b"to", ())),
        wire(lists.get(b"cc", ())),
        wire(lists.get(b"bcc", ())),
        nstring(get(b"in-reply-to")),
        nstring(get(b"message-id")),
    )


def structure_of(entity: Entity, limits: Limits = DEFAULT) -> tuple[bytes, bytes]:
    """(BODY, BODYSTRUCTURE) of an entity with all below it."""
    fields = entity.fields
    if entity.children:
        plain, full = zip(*[structure_of(child, limits) for child in entity.children])
        subtype = imap_string(entity.subtype)
        extension = _parameters(entity.parameters) + _extension(entity)
        return b"(%b %b)" % (b"".join(plain), subtype), b"(%b %b %b)" % (b"".join(full), subtype, extension)
    base = b"%b %b %b %b %b %b %d" % (
        imap_string(entity.type),
        imap_string(entity.subtype),
        _parameters(entity.parameters),
        nstring(fields.get(b"content-id")),
        nstring(fields.get(b"content-description")),
        imap_string(entity.encoding) if entity.encoding else b'"7bit"',
        entity.end - entity.header_end,
    )
    extension = b" " + nstring(fields.get(b"content-md5")) + _extension(entity)
    if entity.inner is not None:
        inner = entity.inner
        body, full_body = structure_of(inner, limits)
        base = b"%b %b" % (base, envelope(inner.fields, address_lists(inner.fields, limits)))
        lines = entity.lines
        return b"(%b %b %d)" % (base, body, lines), b"(%b %b %d%b)" % (base, full_body, lines, extension)
    if entity.type.lower() == b"text":
        base = b"%b %d" % (base, entity.lines)
    return b"(" + base + b")", b"(" + base + extension + b")"


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    if len(parameters) == 1:
        name, value = parameters[0]
        return b"(" + imap_string(name) + b" " + imap_string(value) + b")"
    return b"(" + b" ".join([imap_string(item) for pair in parameters for item in pair]) + b")"


def _extension(entity: Entity) -> bytes:
    """Disposition, language, location, each with a space before it."""
    disposition = b"NIL"
    if entity.disposition:
        disposition = b"(%b %b)" % (
            imap_string(entity.disposition),
            _parameters(entity.disposition_parameters),
        )
    language = entity.fields.get(b"content-language")
    location = entity.fields.get(b"content-location")
    if language is None and location is None:
        return b" " + disposition + b" NIL NIL"
    return b" %b %b %b" % (disposition, _language(language), nstring(location))


def _language(value: bytes | None) -> bytes:
    """RFC 3282 2: a list of tags; one alone is a string."""
    tags = [word for tag in (value or b"").split(b",")[:50] if (word := token(tag))]
    if not tags:
        return b"NIL"
    if len(tags) == 1:
        return imap_string(tags[0])
    return b"(" + b" ".join(map(imap_string, tags)) + b")"
