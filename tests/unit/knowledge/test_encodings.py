"""A text is read as it was written, in whatever encoding, wherever in the file its first telling byte is."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.knowledge.converters.encodings import decode, is_text
from gateway.knowledge.documents import CorruptDocument

# Sentences in the encodings that their languages were and are written in.
WRITTEN = {
    "Die Gewährleistung beträgt sechsundzwanzig Monate; das Büro in München öffnet um neun, Größe und Maß im Anhang.": [
        "cp1252",
        "latin-1",
        "cp850",
    ],
    "La garantie est de vingt-six mois. Le bureau de Besançon ouvre à neuf heures; où étiez-vous l'été dernier?": [
        "cp1252",
        "latin-1",
    ],
    "Gwarancja wynosi dwadzieścia sześć miesięcy. Biuro w Łodzi otwiera się o dziewiątej, proszę zachować rachunek.": [
        "cp1250",
        "iso-8859-2",
    ],
    "Гарантийный срок на насос составляет двадцать шесть месяцев. Офис в Москве открывается в девять часов.": [
        "cp1251",
        "koi8-r",
        "cp866",
        "cp855",
        "iso-8859-5",
        "mac-cyrillic",
    ],
    "Záruka na čerpadlo činí dvacet šest měsíců. Kancelář v Plzni otevírá v devět, příliš žluťoučký kůň, prosím.": [
        "cp1250",
        "iso-8859-2",
    ],
    "ระยะเวลารับประกันปั๊มคือยี่สิบหกเดือน สำนักงานเปิดเวลาเก้าโมง กรุณาเก็บใบเสร็จ": ["cp874"],
    "पंप की वारंटी छब्बीस महीने की है। कृपया रसीद संभाल कर रखें।": [],
    "Η εγγύηση της αντλίας είναι είκοσι έξι μήνες. Το γραφείο στην Αθήνα ανοίγει στις εννέα.": [
        "cp1253",
        "iso-8859-7",
        "cp737",
        "cp869",
    ],
    "Pompanın garanti süresi yirmi altı aydır. İstanbul ofisi dokuzda açılır, lütfen faturayı saklayınız.": [
        "cp1254",
        "cp857",
    ],
    "תקופת האחריות למשאבה היא עשרים ושישה חודשים. המשרד בתל אביב נפתח בתשע.": ["cp1255", "cp862"],
    "مدة الضمان للمضخة ستة وعشرون شهرا. يفتح المكتب في القاهرة الساعة التاسعة.": ["cp1256"],
    "质保期为二十六个月，请保留发票。上海办事处九点开门。水泵的保修不包括滤芯。": ["gb18030", "gbk", "hz"],
    "保固期為二十六個月，請保留發票。台北辦事處九點開門。水泵的保固不包括濾芯。": ["big5"],
    "ポンプの保証期間は二十六か月です。領収書を保管してください。東京事務所は九時に開きます。": [
        "cp932",
        "euc_jp",
        "iso2022_jp",
    ],
    "펌프의 보증 기간은 이십육 개월입니다. 영수증을 보관하십시오. 서울 사무소는 아홉 시에 엽니다.": ["euc_kr"],
}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
ALL = [(text, encoding) for text, encodings in WRITTEN.items() for encoding in [*encodings, *UNICODE]]
ASCII_LINE = "# a plain line of a long log file, nothing else here\n"


@pytest.mark.parametrize(("text", "encoding"), ALL, ids=lambda value: value[:12])
@given(before=st.sampled_from([0, 1, 3000]), after=st.sampled_from([0, 1, 2000]), times=st.integers(1, 3))
@settings(max_examples=6, deadline=None)
def test_it_reads_what_was_written(text: str, encoding: str, before: int, after: int, times: int) -> None:
    whole = ASCII_LINE * before + (text + "\n") * times + ASCII_LINE * after
    decoded = decode("a.txt", whole.encode(encoding))
    assert (decoded.text, decoded.replaced) == (whole, 0)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("5 € für\r\nMüller", "cp1252"),
        ("“quoted”, it’s – fine", "cp1252"),
        ("café", "latin-1"),
        ("25 °C", "latin-1"),
        ("Crème brûlée à la carte", "latin-1"),
        ("Имя", "cp1251"),
        ("Şişli, İstanbul", "cp1254"),
        ("发票", "gbk"),
        ("日本", "cp932"),
    ],
)
def test_a_few_words_are_enough(text: str, encoding: str) -> None:
    assert decode("a.txt", text.encode(encoding)).text == text


@given(
    st.lists(st.sampled_from(["Gewährleistung ", "質保期，", "Größe ", "plain ", "🙂 "]), min_size=4, max_size=60),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([b"\xff", b"\x80", b"\xc3", b"\xe8\xb3"])), max_size=3),
)
def test_utf_8_with_a_few_bad_bytes_stays_utf_8(words: list[str], damage: list[tuple[float, bytes]]) -> None:
    characters = "Über " * 12 + "".join(words)
    content = characters.encode()
    # From the end on, one at each place: two beside each other could be a character.
    for place, junk in sorted({int(place * len(characters)): junk for place, junk in damage}.items(), reverse=True):
        cut = len(characters[:place].encode())
        content = content[:cut] + junk + content[cut:]
    decoded = decode("a.txt", content)
    assert decoded.encoding == "utf-8"
    assert bool(decoded.replaced) == bool(damage)
    assert decoded.text.count("Über") >= 12 - len(damage)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "gb18030", "cp932", "big5"])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_text_that_is_cut_in_a_character_is_read(encoding: str, cut: int) -> None:
    text = "保固期為二十六個月，請保留。\n" if encoding == "big5" else "期間は二十六か月、保管する。\n"
    decoded = decode("a.txt", (text * 30).encode(encoding)[:-cut])
    assert decoded.text.startswith(text * 29)
    assert decoded.replaced <= 2


def test_what_a_file_says_of_itself_counts_where_it_can_be_so() -> None:
    page = '<html><head><meta charset="{}"></head><body>zażółć</body></html>'
    assert "zażółć" in decode("a.html", page.format("iso-8859-2").encode("iso-8859-2")).text
    assert "zażółć" in decode("a.html", page.format("iso-8859-1").encode()).text, "it is UTF-8, whatever it says"
    assert "zażółć" in decode("a.html", page.format("no-such-thing").encode("cp1250")).text
    assert decode("a.py", "# -*- coding: cp1251 -*-\nx = 'ё'".encode("cp1251")).text.endswith("'ё'")


def test_zeros_in_a_log_are_dropped_and_counted() -> None:
    decoded = decode("a.log", b"before the crash\n" + bytes(4096) + b"after it, Gr\xc3\xb6\xc3\x9fe\n")
    assert (decoded.text, decoded.replaced) == ("before the crash\nafter it, Größe\n", 4096)


@pytest.mark.parametrize(
    "content",
    [bytes(range(256)), b"\xff\xfeodd", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00\x01\x90\xfe" * 9],
)
def test_what_is_no_text_is_told(content: bytes) -> None:
    with pytest.raises(CorruptDocument, match="UTF-8"):
        decode("a.txt", content)
    assert not is_text(content)


@given(st.binary(max_size=400))
def test_any_bytes_come_to_an_end(content: bytes) -> None:
    try:
        decode("a", content).text.encode()
    except CorruptDocument:
        return


@pytest.mark.parametrize(
    "text", ["Der Preis beträgt 5 € – „gut“", "Le café coûte 3 € – c’est « cher »", "Ångström’s 7 “units”…"]
)
def test_quotes_and_dashes_of_windows_do_not_make_it_dos(text: str) -> None:
    assert decode("a.txt", text.encode("cp1252")).text == text


@pytest.mark.parametrize(
    "label",
    [
        "idna",
        "punycode",
        "unicode_escape",
        "raw-unicode-escape",
        "undefined",
        "utf-7",
        "base64",
        "rot13",
        "cp037",
        "x-x-nothing",
    ],
)
def test_names_of_what_is_no_encoding_of_a_file_are_not_believed(label: str) -> None:
    page = f'<html><head><meta charset="{label}"></head><p>Größe \\x41 \\u0041 für alle</p></html>'
    assert decode("a.html", page.encode("cp1252")).text == page
    assert decode("a.html", page.encode("cp1252"), label).text == page


@pytest.mark.parametrize("text", ["“Quoted” – it’s 5 € per pièce…", "un café très chaud", "però è così"])
def test_few_letters_with_accents_are_western_europes(text: str) -> None:
    assert decode("a.txt", text.encode("cp1252")).text == text


@given(
    lines=st.lists(
        st.tuples(st.sampled_from(["Größe übel", "plain words", "naïve façade"]), st.booleans()), min_size=20
    )
)
def test_lines_of_two_programs_in_one_file_are_both_read(lines: list[tuple[str, bool]]) -> None:
    kinds = [kind for line, kind in lines if not line.isascii()]
    assume(kinds.count(True) >= 3 and kinds.count(False) >= 3)
    content = b"\n".join(line.encode("utf-8" if kind else "cp1252") for line, kind in lines)
    decoded = decode("a.log", content)
    assert decoded.text == "\n".join(line for line, _ in lines)
    assert decoded.replaced == 0


def test_characters_as_java_writes_them() -> None:
    emoji = "😀".encode("utf-16-be")
    halves = b"".join(chr(int.from_bytes(emoji[at : at + 2])).encode("utf-8", "surrogatepass") for at in (0, 2))
    assert decode("a.txt", b"one " + halves + " Größe".encode()).text == "one 😀 Größe"
    assert decode("a.txt", "이 제품은 안전합니다".encode("iso2022_kr")).text == "이 제품은 안전합니다"


@pytest.mark.parametrize("encoding", ["cp037", "cp500", "cp1140"])
def test_what_mainframes_write_is_refused_by_name(encoding: str) -> None:
    text = "THE WARRANTY OF THE PUMP IS 26 MONTHS. Keep the invoice, please.\n" * 20
    with pytest.raises(CorruptDocument, match="EBCDIC"):
        decode("a.txt", text.encode(encoding))
