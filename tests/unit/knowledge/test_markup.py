"""All that a page says is found again, and its tables keep their columns."""

from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from tests.unit.knowledge.test_delimited import rows


def read(body: str, head: str = "<meta charset=utf-8>") -> str:
    return convert_bytes("a.html", f"<!doctype html><html><head>{head}</head><body>{body}</body></html>".encode()).text


@pytest.mark.parametrize(
    "body",
    [
        "<article><p>first thing</p></article><article><p>second thing</p></article>",
        "<p>first thing</p><main><p>second thing</p></main>",
        "<main><p>first thing</p></main><main>second thing</main>",
        "<h1>first thing</h1><div id=reviews><article>second thing</article></div>",
        "<main>first thing</main><aside>second thing</aside>",
        "<article>first thing<footer>second thing, and who said it</footer></article>",
        "<header>first thing of the day</header><p>second thing</p>",
        "<p>first thing</p><footer>second thing: call us at 030 1234</footer>",
        "<details><summary>first thing</summary>second thing</details>",
        "<div hidden>first thing</div><div style='display:none'>second thing</div>",
        "<select><option>first thing</option><option>second thing</option></select>",
        "<dl><dt>first thing</dt><dd>second thing</dd></dl>",
        "<p>first thing<p>second thing",
        "<table><caption>first thing</caption><tr><td>second thing</table>",
        "<table>first thing<tr><td>second thing</td></tr></table>",
        "<noscript>first thing</noscript><template>no</template><p>second thing</p>",
        "first thing</body></html><p>second thing</p>",
        "<p>first thing</p><img alt='second thing' src=x>",
        "<svg><text>first thing</text></svg><p>second thing</p>",
        "<nav><a href=/a>A</a></nav><p>first thing</p><nav>The way to us: <p>second thing, then left, then on for a mile</nav>",
        "<form><label>first thing</label><textarea>second thing</textarea><input value=x></form>",
        "<frameset><noframes>first thing, second thing</noframes></frameset>",
        "<p>first thing</p><iframe srcdoc='<p>second thing</p>'></iframe>",
        "<p>first thing</p><iframe src=x>second thing</iframe>",
        "<p>first thing</p><p><![CDATA[second thing]]></p>",
        "<p>first thing</p><!-- forgotten <p>second thing</p>",
        "<p>first thing</p><script>forgotten <p>second thing</p>",
        "<textarea>first thing<p>second thing</p>",
        "<p>first thing</p><img title='second thing' src=x>",
        "<p>first thing</p><a href=x aria-label='second thing'><svg></svg></a>",
        "<p><abbr title='second thing'>first thing</abbr></p>",
        "<table><td>first thing</td><td>second thing</td></table>",
        "<table><form><tr><td>first thing</td><td>second thing</td></tr></form></table>",
        "<table><tr><form><td>first thing</td></form><td>second thing</td></tr></table>",
        "<p>first thing</p><footer><a href=/a>A</a> <a href=/b>B</a> second thing 0431 55 66 77</footer>",
        "<article>first thing<footer><a href=/a>second thing</a> <a href=/b>B</a></footer></article>",
        "<nav><a href=/a>first thing</a> <a href=/b>second thing</a></nav>",
        "<p>first thing: <second.thing@example.com></p><p>second thing</p>",
        "<select><optgroup label='first thing'><option>1</optgroup></select><datalist><option value='second thing'></datalist>",
        "<input placeholder='first thing'><textarea placeholder='second thing'></textarea>",
        "<picture><source srcset=a><img alt='first thing'></picture><video><track src=x><p>second thing</p></video>",
        "<my-card>first thing</my-card><my-card>second thing</my-card>",
    ],
)
def test_nothing_is_lost(body: str) -> None:
    text = read(body)
    assert "first thing" in text
    assert "second thing" in text
    assert "thingsecond" not in text


def test_words_are_not_parted_and_not_joined() -> None:
    text = read(
        "<p><b>W</b>arranty and <i>guar</i>antee</p><button>Buy</button><button>Sell</button><div>One</div><div>Two</div>"
    )
    assert "Warranty and guarantee" in text
    assert not {"BuySell", "OneTwo"} & set(text.split())


@pytest.mark.parametrize(
    "menu", ["<nav>{}</nav>", "<div role=navigation>{}</div>", "<header>{}</header>", "<footer>{}</footer>"]
)
def test_menus_are_left_out_and_told(menu: str) -> None:
    links = "".join(f"<li><a href=/{number}>Link {number}</a></li>" for number in range(9))
    document = convert_bytes("a.html", f"<body>{menu.format(links)}<p>The content.</p>".encode())
    assert document.text == "The content.\n"
    assert [each.part for each in document.skipped] == ["menus"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "<tr><th rowspan=2>Region<th colspan=2>2024<tr><th>Q1<th>Q2<tr><td rowspan=2>North<td>1<td>2<tr><td>3<td>4",
            [["Region", "2024", "2024"], ["Region", "Q1", "Q2"], ["North", "1", "2"], ["North", "3", "4"]],
        ),
        ("<tr><td colspan=3>A title<tr><td>a<td>b<td>c", [["A title", "", ""], ["a", "b", "c"]]),
        ("<thead><tr><th>a<th>b</thead><tbody><tr><td rowspan=0>x<td>1<tr><td>2", [["a", "b"], ["x", "1"], ["x", "2"]]),
        ("<tr><td>a | b<td><ul><li>x<li>y</ul>", [["a | b", "- x - y"]]),
        ("<tr><td rowspan=99999>a<td colspan=99999>b<tr><td>c", [["a", "b"], ["a", "c"]]),
        ("<tr><td rowspan=x colspan=-1>a<td>b", [["a", "b"]]),
        ("<tfoot><tr><td>sum<td>9</tfoot><thead><tr><th>k<th>v</thead><tr><td>a<td>9", [["k", "v"], ["a", "9"], ["sum", "9"]]),
        ("<tr><th><h3>k</h3><th><h3>v</h3><tr><td>a<td>1", [["k", "v"], ["a", "1"]]),
        ("<tr><th>k<th>v<tr><td>a<td><table><tr><td>x<td>y<tr><td>z</table>", [["k", "v"], ["a", "x, y; z"]]),
    ],
)  # fmt: skip
def test_columns_do_not_shift(table: str, expected: list[list[str]]) -> None:
    assert rows(read(f"<table>{table}</table>").strip()) == expected


def test_a_table_that_lays_out_a_page_is_none() -> None:
    text = read(
        "<table><tr><td><h2>News</h2><p>The first paragraph.</p></td><td><table><tr><th>a<th>b<tr><td>1<td>2</table></td>"
        "</tr></table>"
    )
    assert "## News\n\nThe first paragraph.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |" in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("declared", ["", "<meta charset=iso-8859-1>", "<meta charset=utf-8>"])
def test_a_page_that_says_nothing_or_not_the_truth_of_its_encoding(encoding: str, declared: str) -> None:
    page = f"<html><head>{declared}</head><body><p>Die Gewährleistung in München, Größe 5.</p></body></html>"
    assert convert_bytes("a.html", page.encode(encoding)).text == "Die Gewährleistung in München, Größe 5.\n"


def test_marks_that_nobody_sees_do_not_make_a_page_another_encoding() -> None:
    page = "<p>Daten\u00adbank\u200bverwaltung, שלום\u200e and na\u00efve.</p>"
    assert convert_bytes("a.html", page.encode()).text == "Datenbankverwaltung, שלום and naïve.\n"


@pytest.mark.parametrize("tag", ["p", "li", "div", "blockquote", "td"])
def test_thousands_of_unclosed_tags(tag: str) -> None:
    text = read("".join(f"<{tag}>word{number} " for number in range(2000)))
    assert all(f"word{number}" in text for number in range(2000))


SENTENCE = st.text(st.sampled_from("abcÄ漢 <>&'\".,;:|0123456789"), min_size=1, max_size=20).map(
    lambda text: " ".join(text.split())
)
# fmt: off
TAGS = st.sampled_from([
    "div", "p", "section", "article", "main", "aside", "header", "footer", "span", "li", "td", "th", "h2", "h3", "blockquote",
    "figure", "figcaption", "address", "form", "fieldset", "center", "dd", "dt", "details", "summary", "label", "a", "b", "i",
    "em", "u", "font", "small", "ins", "time", "abbr", "custom-element",
])
# fmt: on


@given(st.lists(st.tuples(SENTENCE, st.lists(TAGS, max_size=5)), min_size=1, max_size=12))
@settings(max_examples=120, deadline=None)
def test_every_sentence_is_found_again(parts: list[tuple[str, list[str]]]) -> None:
    sentences = [" ".join(f"x{number} {text} y{number}".split()) for number, (text, _) in enumerate(parts)]
    body = ""
    for sentence, (_, tags) in zip(sentences, parts, strict=True):
        opened = "".join(f"<{tag}>" for tag in tags)
        body += f"{opened}{escape(sentence)}{''.join(f'</{tag}>' for tag in reversed(tags))} "
    text = " ".join(read(body).replace("\\|", "|").split())
    for sentence in sentences:
        assert sentence in text


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4), min_size=1, max_size=5)
)
@settings(max_examples=60, deadline=None)
def test_every_cell_is_found_again_in_its_row(table: list[list[tuple[int, int]]]) -> None:
    body = ""
    for number, cells in enumerate(table):
        made = (f"<td rowspan={high} colspan={wide}>r{number}c{at}</td>" for at, (high, wide) in enumerate(cells))
        body += f"<tr>{''.join(made)}</tr>"
    lines = rows(read(f"<table>{body}</table>").strip())
    assert len(lines) == len(table)
    for number, cells in enumerate(table):
        assert {f"r{number}c{at}" for at in range(len(cells))} <= set(lines[number])


def test_what_fields_show() -> None:
    fields = (
        '<input value="Ada"> <input type=checkbox checked> yes <input type=radio> no <input type=hidden value=token>'
    )
    shadow = (
        "<my-card><template shadowrootmode=open><p>in the card</p></template></my-card><template>for later</template>"
    )
    text = read(f"<form>{fields}</form>{shadow}")
    for words in ("Ada", "☒ yes", "☐ no", "in the card"):
        assert words in " ".join(text.split())
    assert "token" not in text
    assert "for later" not in text


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("3 × 10<sup>6</sup> N", "3 × 10^6 N"),
        ("10<sup>−3</sup> m", "10^−3 m"),
        ("a share of 42<sup>1</sup>.", "a share of 42^1."),
        ("the 1<sup>st</sup>, H<sub>2</sub>O, mc<sup>2</sup>", "the 1st, H2O, mc2"),
        (
            "<svg><title>Plan</title><text>in</text><foreignObject><p>a <b>box</b></p></foreignObject></svg>",
            "Plan in a box",
        ),
        ('<map><area alt="Pump room" href="x"></map>', "Pump room"),
    ],
)
def test_what_is_raised_or_drawn_is_read_as_it_is_seen(html: str, words: str) -> None:
    assert words in " ".join(convert_bytes("a.html", f"<html><body><p>{html}</p></body></html>".encode()).text.split())
    assert convert_bytes("a.html", f"<html><body><p>x {html}</p></body></html>".encode()).title == "a"


@pytest.mark.parametrize("tags", ["<b>", "<i><b><a href='#'>"])
def test_emphasis_that_is_nested_without_end_is_read_in_a_line_of_time(tags: str) -> None:
    """10,000 took minutes, where each tag was looked for in all that is within it; a test's own limit is two."""
    assert convert_bytes("a.html", (tags * 10_000 + "word").encode()).text == "word\n"


def test_addresses_in_angle_brackets_and_frames_of_other_pages() -> None:
    document = convert_bytes(
        "a.html", b"<p>Ask <ann@example.com> or <https://example.com/a?b=c>.</p><iframe src=//x></iframe>"
    )
    assert document.text == "Ask <ann@example.com> or <https://example.com/a?b=c>.\n"
    assert [each.part for each in document.skipped] == ["frames"]


@pytest.mark.parametrize("tag", ["font color=red", "div", "blockquote"])
@pytest.mark.parametrize("depth", [500, 1500, 5000])
def test_words_within_thousands_of_elements(tag: str, depth: int) -> None:
    text = read(f"<p>first thing</p>{f'<{tag}>' * depth}second thing<p>third thing")
    assert [line.strip("> ") for line in text.splitlines() if line.strip("> ")] == [
        "first thing",
        "second thing",
        "third thing",
    ]


@given(st.text(st.sampled_from("<>/!-?[]=\"' abp\n"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_page_is_so_broken_that_what_stands_before_it_is_lost(broken: str) -> None:
    assert "first thing" in read(f"<p>first thing</p>{broken}")
