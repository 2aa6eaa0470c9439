"""Rows in are rows out, in every dialect in which people write tables."""

import csv
import io
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes


def rows(text: str) -> list[list[str]]:
    """The rows of a Markdown table."""
    lines = [line for line in text.splitlines() if not re.fullmatch(r"\|( --- \|)+", line)]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in lines]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "q.csv",
            '"id","name"\n"1","a ""quoted"" word, and more"\n',
            [["id", "name"], ["1", 'a "quoted" word, and more']],
        ),
        (
            "apostrophes.csv",
            "id,title,note\n1,'Round the bend,ok\n2,Rock 'n' roll,fine\n3,The Dogs',last\n",
            [
                ["id", "title", "note"],
                ["1", "'Round the bend", "ok"],
                ["2", "Rock 'n' roll", "fine"],
                ["3", "The Dogs'", "last"],
            ],
        ),
        ("index.tsv", "\tname\tprice\n0\tfoo\t12\n", [["", "name", "price"], ["0", "foo", "12"]]),
        ("sql.csv", "'name','price'\n'foo','1,50'\n'it''s','2'\n", [["name", "price"], ["foo", "1,50"], ["it's", "2"]]),
        ("mac.csv", "name,price\rfoo,1\rbar,2\r", [["name", "price"], ["foo", "1"], ["bar", "2"]]),
        ("comma.csv", "name;price\nfoo;1,50\nbar;2,75\n", [["name", "price"], ["foo", "1,50"], ["bar", "2,75"]]),
        ("bare.csv", "1,50;2,75\n3,25;4,00\n", [["1,50", "2,75"], ["3,25", "4,00"]]),
        (
            "lists.csv",
            "id;tags;x\n1;['345'];a\n4;['112', '765'];b\n",
            [["id", "tags", "x"], ["1", "['345']", "a"], ["4", "['112', '765']", "b"]],
        ),
        ("excel.csv", "sep=|\na|b\n1|2,3;4\n", [["a", "b"], ["1", "2,3;4"]]),
        ("bom.csv", "\ufeffid,name\n1,Größe\n", [["id", "name"], ["1", "Größe"]]),
        ("lines.csv", 'id,text\n1,"two\nlines"\n2,x\n', [["id", "text"], ["1", "two lines"], ["2", "x"]]),
        (
            "escapes.csv",
            'id,text\n1,"a \\"quoted\\" word, and more"\n2,x\n',
            [["id", "text"], ["1", 'a "quoted" word, and more'], ["2", "x"]],
        ),
        (
            "stray.csv",
            'id,text,n\n1,"unclosed,3\n2,5" pipe,4\n3,"Nice" pump,5\n',
            [["id", "text", "n"], ["1", '"unclosed', "3"], ["2", '5" pipe', "4"], ["3", '"Nice" pump', "5"]],
        ),
        ("blanks.csv", 'a, b\n1, "x, y"\n', [["a", "b"], ["1", "x, y"]]),
        ("pipes.csv", 'a,b\n"x | y",2\n', [["a", "b"], ["x | y", "2"]]),
        ("vertical.csv", "a,b\n1,x\x0by\n2,z\n", [["a", "b"], ["1", "x y"], ["2", "z"]]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith("sv") else "",
)
def test_dialects(name: str, content: str, expected: list[list[str]]) -> None:
    document = convert_bytes(name, content.encode())
    assert rows(document.text) == expected
    assert document.rows == len(expected)


def test_a_field_of_any_length() -> None:
    document = convert_bytes("a.csv", f'id,body\n1,"{"word " * 60_000}"\n2,ok\n'.encode())
    assert document.text.endswith("| 2 | ok |\n")
    assert document.rows == 3


def test_stray_quotes_take_bounded_time() -> None:
    lines = "".join(f'{number},"never closed {number}\n' for number in range(20_000))
    document = convert_bytes("a.csv", ("id,text\n" + lines).encode())
    assert document.rows == 20_001
    assert '| 19999 | "never closed 19999 |' in document.text


def test_one_long_row_does_not_widen_all_others() -> None:
    document = convert_bytes("a.csv", (",".join(map(str, range(5000))) + "\n" + "a,b\n" * 5000).encode())
    assert document.rows == 5001
    assert len(document.text) < 1_000_000


CELLS = st.text(st.sampled_from("abcÄß漢 \"'|;,\t\\/-_.0123456789\n"), max_size=12).map(
    lambda cell: " ".join(cell.split())
)


@given(
    st.integers(2, 6).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=2, max_size=12)
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=150, deadline=None)
def test_every_quoted_cell_is_found_again(table: list[list[str]], delimiter: str, end: str, encoding: str) -> None:
    table = [[f"row {number}", *cells, "end"] for number, cells in enumerate(table)]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(table)
    document = convert_bytes("a.csv", out.getvalue().encode(encoding))
    assert rows(document.text) == table
    assert document.rows == len(table)


PLAIN = st.text(st.sampled_from("abcÄß漢 '()/-_.0123456789"), min_size=1, max_size=12).map(str.strip).filter(bool)


@given(
    st.integers(2, 6).flatmap(
        lambda width: st.lists(st.lists(PLAIN, min_size=width, max_size=width), min_size=2, max_size=12)
    ),
    st.sampled_from(",;\t|"),
)
@settings(max_examples=100, deadline=None)
def test_every_bare_cell_is_found_again(table: list[list[str]], delimiter: str) -> None:
    content = "".join(delimiter.join(cells) + "\n" for cells in table)
    assert rows(convert_bytes("a.csv", content.encode()).text) == [
        [" ".join(cell.split()) for cell in row] for row in table
    ]


@given(
    table=st.lists(
        st.lists(st.sampled_from(["a", "two\nlines", "x y", "7"]), min_size=3, max_size=3), min_size=4, max_size=9
    ),
    ends=st.sampled_from([("\r\n", "\n"), ("\r\n", "\r"), ("\r", "\n")]),
    separator=st.sampled_from(",;\t|\x01\x1f"),
)
def test_line_ends_within_cells_that_nobody_quoted_part_no_rows(
    table: list[list[str]], ends: tuple[str, str], separator: str
) -> None:
    end, within = ends
    lines = [["id", "b", "c", "d"], *([f"r{number}", *row] for number, row in enumerate(table))]
    assume(sum(cell.count("\n") for row in table for cell in row) < len(lines))
    text = end.join(separator.join(row) for row in lines).replace("\n", within) if end != "\r\n" else None
    text = text or end.join(separator.join(cell.replace("\n", within) for cell in row) for row in lines)
    made = convert_bytes("a.csv", (text + end).encode())
    assert rows(made.text) == [[" ".join(cell.split()) for cell in row] for row in lines]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', " sep=; ", "\ufeffsep=;"])
def test_the_line_that_names_the_separator_is_no_row(line: str) -> None:
    assert rows(convert_bytes("a.csv", f"{line}\r\nname;qty\r\na,b;3\r\n".encode()).text) == [
        ["name", "qty"],
        ["a,b", "3"],
    ]
