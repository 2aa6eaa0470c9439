"""PDF, page by page."""

from io import BytesIO
from pathlib import PurePath

from gateway.knowledge.documents import CorruptDocument, Document, DocumentError, EncryptedDocument, clean


def pdf(name: str, content: bytes) -> Document:
    """The text of each page; a scan has none."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):  # an empty password only restricts printing and the like
            raise EncryptedDocument(f"{name} needs a password; save it without one")
        pages = [clean(page.extract_text()).strip() for page in reader.pages]
        title = clean(str((reader.metadata and reader.metadata.title) or "")).strip()
    except (DocumentError, MemoryError):
        raise
    except DependencyError as error:
        raise EncryptedDocument(f"{name} is encrypted; save it without a password") from error
    except Exception as error:  # pypdf raises KeyError, TypeError and others on damaged files
        raise CorruptDocument(f"{name} is not a readable PDF: {error}") from error
    return Document.of_pages(pages, title or PurePath(name).stem, "plain")
