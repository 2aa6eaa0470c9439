"""Pictures, whose text is recognised; each of a TIFF's pictures is a page."""

from dataclasses import replace
from io import BytesIO
from pathlib import PurePath

from gateway.knowledge.converters.text_recognition import NotRecognized, TextRecognition
from gateway.knowledge.documents import CorruptDocument, Document, EmptyDocument, Recognized, Skipped

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


def picture(name: str, content: bytes, recognition: TextRecognition) -> Document:
    """The text that `recognition` reads in it."""
    from PIL import Image, ImageSequence

    texts: list[str] = []
    failed: list[Skipped] = []
    recognized: list[Recognized] = []
    try:
        for number, page in enumerate(ImageSequence.Iterator(Image.open(BytesIO(content), formats=_FORMATS)), 1):
            try:
                found = recognition.recognize(page)
                texts.append(found.text)
                recognized.append(found.on_page(number))
            except NotRecognized as error:
                texts.append("")
                failed.append(Skipped(f"page {number}", str(error)))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError and others on damaged files
        raise CorruptDocument(f"{name} is not a readable picture: {error}") from error
    if not recognized:
        raise EmptyDocument(f"{name} has no text: {failed[0].reason if failed else 'it holds no picture'}")
    document = Document.of_pages(texts, PurePath(name).stem, "plain", failed)
    return replace(document, recognized=tuple(recognized))
