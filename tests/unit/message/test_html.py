"""HTML as text, hidden text apart."""

import pytest

from echomox.message.text import Link, html_to_text


@pytest.mark.parametrize(
    "html, text",
    [
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("V<b>i</b>a<i></i>gra", "Viagra"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1\n2\n3"),
        ("<ul><li>x<li>y</ul>", "x\ny"),
        ("<title>t</title><style>s</style><script>j</script><p>x &amp; y&nbsp;z</p>", "x & y z"),
        ("<!-- c -->x<!-- <p>d</p> -->", "x"),
        ("plain", "plain"),
        ("", ""),
        ("a\0b", "ab"),
        ("<div>one <span>two</span>\n three</div>", "one two\nthree"),
        ("<p", ""),
    ],
)
def test_text_in_reading_order(html, text):
    assert html_to_text(html).text == text


@pytest.mark.parametrize(
    "html, text, hidden",
    [
        ('<p>a<span style="display:none">b</span>c', "ac", "b"),
        ('<div style="DISPLAY : NONE !important">b</div>a', "a", "b"),
        ('<span style="visibility:hidden">b</span>a', "a", "b"),
        ('<span style="font-size:0">b</span>a', "a", "b"),
        ('<span style="font-size: 1px; color:red">b</span>a', "a", "b"),
        ('<span style="font-size:0.5px">b</span>a', "a", "b"),
        ('<span style="font-size:10px">b</span>a', "ba", ""),
        ('<span style="font-size:1em">b</span>a', "ba", ""),
        ('<p hidden>b</p>a', "a", "b"),
        ('<span style="opacity:0">b</span>a', "a", "b"),
        ('<span style="opacity:0.8">b</span>a', "ba", ""),
        ('<div style="max-height:0;overflow:hidden">b</div>a', "a", "b"),
        ('<div style="position:absolute;left:-9999px">b</div>a', "a", "b"),
        # the colour of the background
        ('<font color="#ffffff">b</font>a', "a", "b"),
        ('<font color="white">b</font>a', "a", "b"),
        ('<span style="color:rgb(255, 255, 255)">b</span>a', "a", "b"),
        ('<body bgcolor="#000"><font color=white>b</font></body>', "b", ""),
        ('<body bgcolor="#000"><font color=black>b</font></body>', "", "b"),
        ('<div style="background-color:#f00"><p><span style="color:red">b</span>a</div>', "a", "b"),
        ('<p style="background:#EEE url(x);color:#eeeeee">b</p>a', "a", "b"),
        ('<table background="x.gif"><tr><td><font color=white>b</font></table>', "b", ""),
        ('<style>body{background:black}</style><font color=white>b</font>', "b", ""),
        # taken back inside
        ('<td style="font-size:0"><span style="font-size:14px">b</span></td>', "b", ""),
        ('<div style="color:#fff"><p style="color:#000">b</p></div>', "b", ""),
        # hidden in hidden: in order, once
        ('<div style="display:none">a<b style="display:none">b</b>c</div>d', "d", "ac\nb"),
        ('<body style="display:none">a</body>', "a", ""),
    ],
)  # fmt: skip
def test_hidden_text_is_parted(html, text, hidden):
    found = html_to_text(html)
    assert (found.text, found.hidden) == (text, hidden)


def test_links_with_their_visible_text():
    found = html_to_text(
        '<a href=" http://x.test/ ">go <b>now</b></a><a name=x>no</a><a href="mailto:a@x.test"><img src=y></a>'
    )
    assert found.links == [Link("http://x.test/", "go now"), Link("mailto:a@x.test", "")]


def test_images_and_forms_are_counted():
    found = html_to_text(
        '<img src="http://x.test/1.gif" width=1 height=1><img src="cid:a"><IMG SRC="//x.test/2"><form></form>'
    )
    assert (found.images, found.tiny, found.remote, found.forms) == (3, 1, ["http://x.test/1.gif", "//x.test/2"], 1)


def test_input_depth_and_lists_are_bounded():
    assert len(html_to_text("x" * 1000, 100).text) == 100
    assert html_to_text("<div>" * 50_000 + "deep").text == ""
    assert len(html_to_text("<a href=x>y</a>" * 3000).links) == 1000
    many = "<p " + " ".join(f"a{n}" for n in range(30_000)) + ">text"
    assert html_to_text(many).text == "text"


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "</",
        "<!--",
        "<b><p>",
        "<table>",
        "<a ",
        '<a x="',
        "<font color=white>x",
        '<p style="',
        "&",
        "<svg>",
        "<template>",
    ],
)
def test_hostile_html_ends(piece):
    html_to_text(piece * (60_000 // len(piece)))


def test_deep_hidden_text_stays_hidden():
    found = html_to_text("<font color=white>x" * 1000)
    assert found.text == "" and found.hidden.count("x") == 1000
