"""HTML as Markdown, without what a page has around its content."""

import re
import warnings

from gateway.knowledge.converters.text import title_of
from gateway.knowledge.documents import CorruptDocument, Document, clean

_BOILERPLATE = ["script", "style", "noscript", "template", "nav", "svg", "iframe"]


def html(name: str, content: bytes) -> Document:
    """HTML and XHTML in the encoding that they say, or that they seem to have."""
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markdownify import MarkdownConverter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XHTML read as HTML, names that look like files: both are fine here
            soup = BeautifulSoup(content, "html.parser")
            for tag in soup(_BOILERPLATE):
                tag.decompose()
            root = soup.find("main") or soup.find("article")
            if root is None:  # a page without structure: its own header and footer are not content
                for tag in soup(["header", "footer"]):
                    if tag.find("h1") is None:
                        tag.decompose()
                root = soup.body or soup
            converter = MarkdownConverter(
                heading_style="ATX",
                bullets="-",
                escape_asterisks=False,
                escape_underscores=False,
                table_infer_header=True,
                strip=["img"],
            )
            text: str = converter.convert_soup(root)
            title = soup.title.get_text(" ", strip=True) if soup.title else ""
    except (ParserRejectedMarkup, RecursionError) as error:
        raise CorruptDocument(f"{name} is not readable HTML: {type(error).__name__}") from error
    text = tidy(text)
    return Document(text, clean(title) or title_of(text, name), "markdown")


def tidy(text: str) -> str:
    """Without blanks at the ends of lines and more than one blank line."""
    text = re.sub(r"[ \t]+\n", "\n", clean(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
