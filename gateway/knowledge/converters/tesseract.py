"""Tesseract's library, where the machine has it (Debian: tesseract-ocr).

The library and not the program: a converter may start none. Pictures come unpacked, as Pillow has them.
"""

import ctypes
import time
import weakref
from typing import Any

from gateway.knowledge.converters.text_recognition import NotRecognized, PictureText, check_pixels
from gateway.knowledge.normalization import clean

_LIBRARIES = ("libtesseract.so.5", "libtesseract.so.4")
_PIXELS_READ = 4_000_000
"""A4 at 200 dots an inch, to which pictures are brought: larger ones take longer and read no better, and of three pages at 100
the mean confidence was 67 to 81 as they were and 89 to 92 twice as large."""
_MOST_ENLARGED = 3.0
_LEAST_CONFIDENCE = 30
"""Of 100. Below, "text" is what noise, drawings and photographs look like."""
_SURE = 70
"""Of 100. Below, a picture is read turned round, too: of pages that lay on their side or head 33 to 43 were seen, of the same
ones upright 94. Higher: bad scans take up to four times as long."""
_AUTOMATIC_SEGMENTATION, _BLOCK = 3, 0


class TesseractUnavailable(Exception):
    """The library or a language of it is not there; the text says what to install."""


class Tesseract:
    """Holds the library with its languages."""

    def __init__(self, languages: str) -> None:
        """languages: Tesseract's names of them, `eng+deu`. Raises TesseractUnavailable."""
        self._library = _load()
        self._handle = ctypes.c_void_p(self._library.TessBaseAPICreate())
        weakref.finalize(self, self._library.TessBaseAPIDelete, self._handle)
        failed = self._library.TessBaseAPIInit3(self._handle, None, languages.encode())
        if failed or not set(languages.split("+")) <= self._loaded():
            packages = " ".join(f"tesseract-ocr-{each.replace('_', '-')}" for each in languages.split("+"))
            raise TesseractUnavailable(f"Tesseract does not have all of the languages {languages}: install {packages}")
        self._library.TessBaseAPISetPageSegMode(self._handle, _AUTOMATIC_SEGMENTATION)

    def recognize(self, picture: Any, seconds: float) -> PictureText:
        """Of a picture of Pillow's, within so many seconds. One that reads badly is read turned round, too: a page that lies on
        its side or its head gives letters, but no words. Raises NotRecognized."""
        until = time.monotonic() + seconds
        gray = prepared(picture)
        best = self._read(gray, until)
        if best is None or best.confidence < _SURE:
            best = self._turned(gray, best, until)
        if best is None or best.confidence < _LEAST_CONFIDENCE:
            raise NotRecognized("it is a picture in which no text was recognised")
        return best

    def _turned(self, gray: Any, best: PictureText | None, until: float) -> PictureText | None:
        """The surest of the three other ways in which a picture may lie, if it is surer than `best`."""
        for turns in (1, 2, 3):
            try:
                turned = self._read(gray.rotate(90 * turns, expand=True), until)
            except NotRecognized:  # no time is left
                return best
            if turned is not None and turned.confidence > (best.confidence if best else 0):
                best = PictureText(turned.text, _turned_back(turned.region, turns), turned.confidence)
            if best and best.confidence >= _SURE:
                return best
        return best

    def _read(self, gray: Any, until: float) -> PictureText | None:
        """A prepared picture as it lies; None where there is no text."""
        library, handle = self._library, self._handle
        width, height = gray.size
        pixels = gray.tobytes()
        library.TessBaseAPISetImage(handle, pixels, width, height, 1, width)
        monitor = ctypes.c_void_p(library.TessMonitorCreate())
        try:
            left_s = until - time.monotonic()
            library.TessMonitorSetDeadlineMSecs(monitor, max(1, int(1000 * left_s)))
            failed = library.TessBaseAPIRecognize(handle, monitor)
            if time.monotonic() >= until:
                raise NotRecognized("text recognition was not done within its time")
            if failed:  # wider or higher than 32,767, as one
                raise NotRecognized("it is a picture that cannot be read")
            text = self._text()
            if not text:
                return None
            left, top, right, bottom = self._region() or (0, 0, width, height)
            region = (left / width, top / height, right / width, bottom / height)
            confidence = int(library.TessBaseAPIMeanTextConf(handle))
            return PictureText(text, tuple(round(each, 3) for each in region), confidence)
        finally:
            library.TessMonitorDelete(monitor)
            library.TessBaseAPIClear(handle)

    def _loaded(self) -> set[str]:
        """Tesseract goes without a language that it does not find, and says so only here."""
        names = self._library.TessBaseAPIGetLoadedLanguagesAsVector(self._handle)
        found: set[str] = set()
        while name := names[len(found)]:
            found.add(name.decode())
        return found

    def _text(self) -> str:
        found = ctypes.c_void_p(self._library.TessBaseAPIGetUTF8Text(self._handle))
        if not found:
            return ""
        try:
            return clean(ctypes.string_at(found).decode("utf-8", "replace")).strip()
        finally:
            self._library.TessDeleteText(found)

    def _region(self) -> tuple[int, int, int, int] | None:
        """What the blocks of text take up together, in pixels: left, top, right, bottom."""
        iterator = ctypes.c_void_p(self._library.TessBaseAPIGetIterator(self._handle))
        if not iterator:
            return None
        places = ctypes.c_void_p(self._library.TessResultIteratorGetPageIterator(iterator))
        boxes = []
        try:
            while True:
                box = [ctypes.c_int() for _ in range(4)]
                if self._library.TessPageIteratorBoundingBox(places, _BLOCK, *map(ctypes.byref, box)):
                    boxes.append([each.value for each in box])
                if not self._library.TessPageIteratorNext(places, _BLOCK):
                    break
        finally:
            self._library.TessResultIteratorDelete(iterator)
        if not boxes:
            return None
        return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def _turned_back(region: tuple[float, float, float, float], turns: int) -> tuple[float, float, float, float]:
    """A region of a picture that was turned so many quarters to the left, in the picture as it was."""
    left, top, right, bottom = region
    for _ in range(turns):
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    return round(left, 3), round(top, 3), round(right, 3), round(bottom, 3)


def prepared(picture: Any) -> Any:
    """In shades of grey on white, and not too large. Raises NotRecognized."""
    from PIL import ImageOps

    pixels = picture.width * picture.height
    check_pixels(pixels)
    try:
        whole = ImageOps.exif_transpose(picture)
        if "A" in whole.getbands() or "transparency" in whole.info:
            from PIL import Image

            whole = whole.convert("RGBA")
            whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
        gray = whole.convert("L")
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError and others on damaged pictures
        raise NotRecognized("it is a picture that cannot be read") from error
    scale = min((_PIXELS_READ / max(pixels, 1)) ** 0.5, _MOST_ENLARGED)
    if not 0.9 < scale < 1.1:
        gray = gray.resize((max(1, round(gray.width * scale)), max(1, round(gray.height * scale))))
    return gray


def _load() -> Any:
    for name in _LIBRARIES:
        try:
            return _declared(ctypes.CDLL(name))
        except (OSError, AttributeError):  # not there, or without a function that is needed
            continue
    raise TesseractUnavailable("Tesseract is not installed: install tesseract-ocr")


def _declared(library: Any) -> Any:
    """With the types of the functions that are called (Tesseract's capi.h)."""
    pointer = ctypes.c_void_p
    library.TessBaseAPICreate.restype = pointer
    library.TessBaseAPIInit3.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p]
    library.TessBaseAPIGetLoadedLanguagesAsVector.argtypes = [pointer]
    library.TessBaseAPIGetLoadedLanguagesAsVector.restype = ctypes.POINTER(ctypes.c_char_p)
    library.TessBaseAPISetPageSegMode.argtypes = [pointer, ctypes.c_int]
    library.TessBaseAPISetPageSegMode.restype = None
    library.TessBaseAPISetImage.argtypes = [pointer, ctypes.c_char_p, *[ctypes.c_int] * 4]
    library.TessBaseAPISetImage.restype = None
    library.TessBaseAPIRecognize.argtypes = [pointer, pointer]
    library.TessBaseAPIGetUTF8Text.argtypes = [pointer]
    library.TessBaseAPIGetUTF8Text.restype = pointer
    library.TessBaseAPIMeanTextConf.argtypes = [pointer]
    library.TessBaseAPIGetIterator.argtypes = [pointer]
    library.TessBaseAPIGetIterator.restype = pointer
    library.TessResultIteratorGetPageIterator.argtypes = [pointer]
    library.TessResultIteratorGetPageIterator.restype = pointer
    library.TessPageIteratorBoundingBox.argtypes = [pointer, ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 4]
    library.TessPageIteratorNext.argtypes = [pointer, ctypes.c_int]
    library.TessMonitorCreate.restype = pointer
    library.TessMonitorSetDeadlineMSecs.argtypes = [pointer, ctypes.c_int]
    library.TessMonitorSetDeadlineMSecs.restype = None
    for name in (
        "TessBaseAPIDelete",
        "TessMonitorDelete",
        "TessBaseAPIClear",
        "TessDeleteText",
        "TessResultIteratorDelete",
    ):
        function = getattr(library, name)
        function.argtypes = [pointer]
        function.restype = None
    return library
