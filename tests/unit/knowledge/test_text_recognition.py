"""Scans and pictures: what a recognition reads is the page's text, with its place; without one they are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfReader, PdfWriter

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.converters.tesseract import Tesseract, TesseractUnavailable, prepared
from gateway.knowledge.converters.text_recognition import NotRecognized, PictureText, TextRecognition, check_pixels
from gateway.knowledge.documents import Document, EmptyDocument, UnsupportedDocument
from tests.unit.knowledge.pdf_file import drawn, lines

SENTENCE = "The well behind the library is forty metres deep."


def picture(text: str = SENTENCE, size: tuple[int, int] = (1400, 300)) -> Image.Image:
    made = Image.new("L", size, 255)
    ImageDraw.Draw(made).text((80, 100), text, fill=0, font=ImageFont.load_default(48))
    return made


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scan(*pages: Image.Image, rotate: int = 0) -> bytes:
    writer = PdfWriter()
    for page in pages:
        writer.append(PdfReader(BytesIO(saved(page, "PDF"))))
    for page in writer.pages:
        if rotate:
            page.rotate(rotate)
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


class FakeTesseract:
    """Says the size of each picture; of a small one that it has no text. A picture takes 30 s on its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds: list[float] = []

    def recognize(self, image: Image.Image, seconds: float) -> PictureText:
        self.seconds.append(seconds)
        self.now += 30
        prepared(image)
        if image.width < 100:
            raise NotRecognized("it is a picture in which no text was recognised")
        return PictureText(f"{image.width} by {image.height}", (0.1, 0.2, 0.9, 0.8), 91)


@pytest.fixture
def engine() -> FakeTesseract:
    return FakeTesseract()


@pytest.fixture
def recognition(engine: FakeTesseract) -> TextRecognition:
    return TextRecognition(engine, lambda: engine.now)


def test_a_page_that_is_a_picture_has_its_text_and_the_receipt_its_place(recognition: TextRecognition) -> None:
    document = convert_bytes("scan.pdf", scan(picture(), picture(size=(50, 50))), recognition)
    assert document.text.strip() == "1400 by 300"
    assert document.page_at(0) == 1
    receipt = document.receipt()
    assert receipt["recognized"] == [{"page": 1, "region": (0.1, 0.2, 0.9, 0.8), "confidence": 91}]
    assert receipt["skipped"] == [{"part": "page 2", "reason": "it is a picture in which no text was recognised"}]
    assert Document.from_json(document.to_json()) == document


def test_a_page_is_read_as_it_is_turned(recognition: TextRecognition) -> None:
    assert convert_bytes("scan.pdf", scan(picture(), rotate=90), recognition).text == "300 by 1400"


def test_a_file_has_so_much_time_and_then_its_pages_are_named(
    recognition: TextRecognition, engine: FakeTesseract
) -> None:
    document = convert_bytes("scan.pdf", scan(*[picture()] * 5), recognition)
    assert len(document.recognized) == 3
    assert [each.part for each in document.skipped] == ["page 4", "page 5"]
    assert "75 s" in document.skipped[0].reason
    assert engine.seconds == [20, 20, 15]


def _with_words(*words: str) -> bytes:
    """A scan with some words on it, as scanners and archives stamp them."""
    stamp = PdfReader(BytesIO(drawn(lines(*words))))
    writer = PdfWriter(clone_from=BytesIO(scan(picture(size=(1400, 600)))))
    writer.pages[0].merge_page(stamp.pages[0])
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


def test_a_scan_with_a_stamp_on_it_is_read_or_told(recognition: TextRecognition) -> None:
    stamped = _with_words("Archive, page 7")
    document = convert_bytes("scan.pdf", stamped, recognition)
    assert document.text.strip().split("\n\n") == ["Archive, page 7", "1400 by 600"]
    assert document.receipt()["recognized"]
    document = convert_bytes("scan.pdf", stamped)
    assert document.text.strip() == "Archive, page 7"
    assert [each.part for each in document.skipped] == ["picture on page 1"]
    full = _with_words(*[f"Line {number} of a page that has words enough of its own." for number in range(9)])
    assert convert_bytes("report.pdf", full, recognition).recognized == ()


def test_without_recognition_they_fail_by_name() -> None:
    with pytest.raises(EmptyDocument, match=r"scan.pdf has no text; if it is a scan, run text recognition"):
        convert_bytes("scan.pdf", scan(picture()))
    with pytest.raises(UnsupportedDocument, match=r"photo.png: this kind of file cannot be read"):
        convert_bytes("photo.png", saved(picture(), "PNG"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_picture_is_a_document_where_there_is_recognition(recognition: TextRecognition, kind: str) -> None:
    document = convert_bytes(f"photo.{kind.lower()}", saved(picture(), kind), recognition)
    assert (document.text, document.title) == ("1400 by 300", "photo")


def test_each_picture_of_a_tiff_is_a_page(recognition: TextRecognition) -> None:
    content = saved(picture(), "TIFF", save_all=True, append_images=[picture(size=(200, 100))])
    document = convert_bytes("fax.tif", content, recognition)
    assert document.text == "1400 by 300\n\n200 by 100"
    assert [each.page for each in document.recognized] == [1, 2]


@pytest.mark.parametrize("content", [b"no picture", saved(picture(), "PNG")[:60], b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_is_refused_by_name(recognition: TextRecognition, content: bytes) -> None:
    with pytest.raises(Exception, match=r"photo.png"):
        convert_bytes("photo.png", content, recognition)


def test_a_picture_that_would_take_all_memory_is_not_unpacked() -> None:
    with pytest.raises(NotRecognized, match="900 million pixels"):
        check_pixels(900_000_000)


@pytest.fixture(scope="module")
def tesseract() -> Tesseract:
    try:
        return Tesseract("eng")
    except TesseractUnavailable as error:
        pytest.skip(str(error))


def test_tesseract_reads_a_page_and_says_where(tesseract: Tesseract) -> None:
    document = convert_bytes("scan.pdf", scan(picture(size=(1400, 1800))), TextRecognition(tesseract))
    assert document.text == SENTENCE
    (page,) = document.recognized
    left, top, right, bottom = page.region
    assert 0.03 < left < right < 0.99
    assert 0.03 < top < bottom < 0.15
    assert page.confidence > 80


@pytest.mark.parametrize(
    ("turned", "place"),
    [
        (90, lambda x, y: x < 0.15 and y > 0.2),
        (180, lambda x, y: x > 0.5 and y > 0.85),
        (270, lambda x, y: x > 0.85 and y < 0.8),
    ],
)
def test_a_page_that_lies_on_its_side_or_head_is_read_where_it_stands(
    tesseract: Tesseract, turned: int, place: Callable[[float, float], bool]
) -> None:
    """It became letters without a word, and was completed."""
    page = picture(size=(1400, 1800)).rotate(turned, expand=True)
    document = convert_bytes("scan.png", saved(page, "PNG"), TextRecognition(tesseract))
    assert document.text == SENTENCE
    left, top, right, bottom = document.recognized[0].region
    assert place((left + right) / 2, (top + bottom) / 2), (left, top, right, bottom)


def test_tesseract_finds_nothing_in_noise(tesseract: Tesseract) -> None:
    with pytest.raises(EmptyDocument, match="no text"):
        convert_bytes("noise.png", saved(Image.effect_noise((300, 300), 90), "PNG"), TextRecognition(tesseract))


def test_tesseract_refuses_a_picture_of_a_shape_that_it_cannot_read(tesseract: Tesseract) -> None:
    with pytest.raises(EmptyDocument, match="no text: it is a picture"):
        convert_bytes("line.png", saved(Image.new("L", (60_000, 2), 255), "PNG"), TextRecognition(tesseract))


@pytest.mark.usefixtures("tesseract")
def test_a_language_that_is_not_installed_is_named() -> None:
    with pytest.raises(TesseractUnavailable, match="install tesseract-ocr-eng tesseract-ocr-xyz-abc"):
        Tesseract("eng+xyz_abc")
