"""HTML as text in reading order, with what a reader is not meant to see parted from it.

Parsed by lexbor (selectolax). Hidden is what inline style or attributes hide: display:none,
visibility:hidden, nothing of size, a font of at most one pixel, moved off the page, or the colour of the
background. Styles in <style> sheets are not evaluated. Input, depth, attributes, links and styled elements
are bounded.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

HTML_LIMIT = 256 * 1024
MAX_LINKS = 1000
MAX_STYLED = 5000
MAX_ANCESTORS = 30
MAX_DEPTH = 1500

# A block begins and ends a line. White space beside these tags is never shown, so more of it changes nothing.
_BLOCK = re.compile(
    r"<(?=/?(?:p|div|br|tr|table|li|ul|ol|dl|dt|dd|h[1-6]|hr|blockquote|pre|section|article|header|footer|center|"
    r"form|option|address|main|nav|aside|figure|fieldset|body|title)\b|t[dh]\b)",
    re.I,
)
# A tag with hundreds of attributes (HTML 13.2.5.32): the parser's time grows with the square of their number.
_MANY_ATTRIBUTES = re.compile(
    r"(<[A-Za-z][^\s/>]*+)(?:[\s/]*+[^\s/>=][^\s/>=]*+"
    r"(?:\s*+=\s*+(?:\"[^\"]{0,2000}+\"|'[^']{0,2000}+'|[^\s>\"']*+))?+){400,}+"
)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
# Elements whose end tag may be left out, or that have none.
_VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr p li td tr th dd dt option".split()  # noqa: SIM905
)
_NOT_TEXT: list[str] = "script style template noframes iframe object svg math textarea select".split()  # noqa: SIM905
_GONE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0*(?:\.0*)?\s*(?:;|!|$)|mso-hide\s*:\s*all|"
    r"max-(?:height|width)\s*:\s*0(?:px)?\s*(?:;|!|$)|text-indent\s*:\s*-\d{3,}|(?:left|top)\s*:\s*-\d{4,}",
    re.I,
)
# An outer element has these often, to close gaps in a layout, and an inner one takes them back.
_TINY = re.compile(
    r"font-size\s*:\s*(?:0*[01](?:\.\d*)?|\.\d+)\s*(?:px|pt|%)?\s*(?:;|!|$)|font\s*:[^;]{0,40}?\b0*[01](?:px|pt)\b",
    re.I,
)
_SIZED = "[style*=font], font[size]"
_COLOURED = "[style*=color], font[color]"
_COLOUR = re.compile(r"(?:^|[;\s])color\s*:\s*([^;!]{1,40})", re.I)
_BACKGROUND = re.compile(r"background(?:-color)?\s*:\s*([^;!]{1,60})", re.I)
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})")
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})\b")
_NAMED = {
    "white": 0xFFFFFF, "black": 0, "red": 0xFF0000, "green": 0x008000, "blue": 0x0000FF, "yellow": 0xFFFF00,
    "gray": 0x808080, "grey": 0x808080, "silver": 0xC0C0C0, "navy": 0x000080, "maroon": 0x800000,
    "snow": 0xFFFAFA, "ivory": 0xFFFFF0, "whitesmoke": 0xF5F5F5, "lightgrey": 0xD3D3D3,
    "lightgray": 0xD3D3D3, "lime": 0x00FF00, "aqua": 0x00FFFF, "fuchsia": 0xFF00FF,
}  # fmt: skip
_WHITE = 0xFFFFFF


class Link(NamedTuple):
    """href: as written, without outer white space. text: what a reader sees of it."""

    href: str
    text: str


class HtmlText(NamedTuple):
    """text: visible, in reading order, a line for a block. hidden: text that is not meant to be seen. images:
    number of <img>; tiny: of those of at most 3 pixels a side. remote: sources of images fetched from
    elsewhere (http, https). forms: number of <form>."""

    text: str
    hidden: str
    links: list[Link]
    images: int
    tiny: int
    remote: list[str]
    forms: int


def html_to_text(html: str, limit: int = HTML_LIMIT) -> HtmlText:
    """What HTML shows and what it hides. At most `limit` characters of it are read, up to MAX_DEPTH elements
    nested."""
    source = _source(html[:limit])
    tree = LexborHTMLParser(source)
    named = source.lower()
    sheet = _may_hold(named, "<style", "<link") and tree.css_first("style, link[rel=stylesheet]") is not None
    tree.strip_tags(_NOT_TEXT, recursive=True)
    images, tiny, remote = _images(tree) if _may_hold(named, "<img", "<image") else (0, 0, [])
    hidden = _take_hidden(tree, sheet) if _may_hold(named, "style", "hidden", "<font") else ""
    links = _links(tree) if _may_hold(named, "href") else []
    forms = len(tree.css("form")) if _may_hold(named, "<form") else 0
    return HtmlText(_lines(_body(tree)), hidden, links, images, tiny, remote, forms)


def _may_hold(source: str, *names: str) -> bool:
    """Whether elements or attributes of such names can be in the tree of a source in lower case: they stand in it as
    they are. A look at the source costs a hundredth of a question to the tree."""
    return any(map(source.__contains__, names))


def _links(tree: LexborHTMLParser) -> list[Link]:
    return [
        Link((node.attributes.get("href") or "").strip(), " ".join(node.text(deep=True).split()))
        for node in islice(tree.css("a[href], area[href]"), MAX_LINKS)
    ]


def _source(html: str) -> str:
    """What is given to the parser."""
    return _BLOCK.sub("\n<", _shallow(html.replace("\0", "")))


def _body(tree: LexborHTMLParser) -> str:
    body = tree.body
    return body.text(deep=True) if body is not None else ""


def html_lines(html: str) -> str:
    """The text of HTML, hidden text too: a newsletter hides the line that it wants to see in the preview."""
    tree = LexborHTMLParser(_source(html))
    tree.strip_tags(_NOT_TEXT, recursive=True)
    return _body(tree)


def _shallow(html: str) -> str:
    """Cut where elements are nested deeper than MAX_DEPTH: the parser's time grows with the square of the
    depth. Tags with a great number of attributes lose them."""
    if len(html) > 16384:
        html = _MANY_ATTRIBUTES.sub(r"\1", html)
    if html.count("<") <= 4 * MAX_DEPTH:
        return html
    depth = 0
    for match in _TAG.finditer(html):
        if match[1]:
            depth = max(depth - 1, 0)
        elif match[2].lower() not in _VOID:
            depth += 1
            if depth > MAX_DEPTH:
                return html[: match.start()]
    return html


def _lines(text: str) -> str:
    """White space collapsed, empty lines taken out."""
    return "\n".join([" ".join(words) for line in text.split("\n") if (words := line.split())])


def _images(tree: LexborHTMLParser) -> tuple[int, int, list[str]]:
    images = tree.css("img")
    tiny, remote = 0, []
    for node in islice(images, MAX_LINKS):
        attributes = node.attributes
        sides = [attributes.get(side) or "" for side in ("width", "height")]
        tiny += all(side.strip() in ("0", "1", "2", "3", "0px", "1px") for side in sides)
        source = (attributes.get("src") or "").strip()
        if source[:8].lower().startswith(("http://", "https://", "//")):
            remote.append(source)
    return len(images), tiny, remote


def _take_hidden(tree: LexborHTMLParser, sheet: bool) -> str:
    """Takes hidden elements out of the tree and gives their text. Backwards, so that an element is gone
    before the one around it is: a node must not be touched after its ancestor was freed."""
    found = []
    styled = tree.css("[style], [hidden], font[color]")[:MAX_STYLED]
    behind = _backgrounds(tree, sheet)
    for node in reversed(styled):
        if node.tag in ("body", "html") or not _is_hidden(node, behind, sheet):
            continue
        text = " ".join(node.text(deep=True).split())
        if text:
            found.append(text)
        node.decompose()
    return "\n".join(reversed(found))


def _backgrounds(tree: LexborHTMLParser, sheet: bool) -> set[int | None]:
    """The colours that stand behind something; text of any other colour is seen."""
    found: set[int | None] = set() if sheet else {_WHITE}
    for node in islice(tree.css("[bgcolor], [style*=background]"), MAX_STYLED):
        found.add(_own_background(node))
    return found


def _is_hidden(node: LexborNode, behind: set[int | None], sheet: bool) -> bool:
    attributes = node.attributes
    style = attributes.get("style") or ""
    if "hidden" in attributes or (style and _GONE.search(style)):
        return True
    if "font" in style and _TINY.search(style) and not _taken_back(node, _SIZED):
        return True
    named = _COLOUR.search(style) if style else None
    colour = _colour(named[1]) if named else _colour(attributes.get("color") or "")
    if colour is None or colour not in behind:
        return False
    return colour == _background(node, sheet) and not _taken_back(node, _COLOURED)


def _taken_back(node: LexborNode, selector: str) -> bool:
    """An element inside sets again what this one set."""
    return any(inner.mem_id != node.mem_id for inner in node.css(selector))


def _colour(text: str) -> int | None:
    """#rgb, #rrggbb, rgb(r, g, b) or a common name -> 0xRRGGBB."""
    text = text.strip().lower()
    if text in _NAMED:
        return _NAMED[text]
    if match := _RGB.match(text):
        red, green, blue = (min(int(value), 255) for value in match.groups())
        return red << 16 | green << 8 | blue
    if match := _HEX.fullmatch(text):
        digits = match[1]
        return int(digits if len(digits) == 6 else "".join(digit * 2 for digit in digits), 16)
    return None


def _own_background(node: LexborNode) -> int | None:
    """The colour that an element itself declares for its background; None for none, or one that is not
    known."""
    attributes = node.attributes
    declared = _BACKGROUND.search(attributes.get("style") or "")
    if declared is None:
        return _colour(attributes.get("bgcolor") or "")
    words = declared[1].replace(", ", ",").split()
    return next((colour for word in words if (colour := _colour(word)) is not None), None)


def _background(node: LexborNode | None, sheet: bool) -> int | None:
    """The colour behind an element, from inline styles and bgcolor; white when nothing says another; None
    when it cannot be known."""
    for _ in range(MAX_ANCESTORS):
        if node is None or not node.is_element_node:
            return None if sheet else _WHITE
        attributes = node.attributes
        if "background" in attributes:
            return None
        if attributes.get("bgcolor") or "background" in (attributes.get("style") or ""):
            return _own_background(node)
        node = node.parent
    return None if sheet else _WHITE
