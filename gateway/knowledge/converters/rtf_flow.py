"""A run of text with paragraphs and tables, as the words of RTF make it."""

from gateway.knowledge.converters.tables import Region, sparse_table


class _Row:
    """Cells of one row, and what its definition says of them: whether each begins or continues a merged region."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.below: list[bool] = []
        """By cell: whether it goes on with the one above."""
        self.beside: list[bool] = []
        """The same with the one at its left."""


class Flow:
    """What was said becomes blocks: paragraphs, and tables of rows that follow each other."""

    def __init__(self) -> None:
        self.rows = 0
        self._blocks: list[str] = []
        self._table: list[_Row] = []
        self._row = _Row()
        self._defined = _Row()
        self._flags = (False, False)
        self._words: list[str] = []
        self._in_row = False
        self._level: int | None = None

    def say(self, text: str) -> None:
        if text:
            self._words.append(text)

    @property
    def last(self) -> str:
        """The last character of what was said; none at the beginning of a paragraph."""
        return self._words[-1][-1] if self._words else ""

    def text(self) -> str:
        """All of it; `end` comes before where there are tables."""
        return "\n".join([*self._blocks, "".join(self._words)])

    def paragraph(self) -> None:
        if self._in_row or self._row.cells:
            self._words.append("\n")
            return
        self._end_table()
        self._take_paragraph()

    def control(self, word: str, number: int | None) -> None:
        """A word that shapes paragraphs or tables; others are passed over."""
        match word:
            case "trowd":
                if not self._row.cells:
                    self._before_row()
                self._defined, self._flags = _Row(), (False, False)
                self._in_row = True
            case "intbl":
                if not self._in_row:
                    self._before_row()
                self._in_row = True
            case "pard":
                self._in_row, self._level = bool(self._row.cells), None
            case "outlinelevel":
                self._level = number
            case "clvmrg" | "clmrg" | "cellx":
                self._define(word)
            case "cell":
                self._row.cells.append(self._taken())
            case "nestcell":
                self._words.append("; ")
            case "nestrow":
                self._words.append("\n")
            case "row":
                self._end_row()

    def _define(self, word: str) -> None:
        """Of a cell, left to right: words that say whether it is merged, then the one that says where it ends."""
        below, beside = self._flags
        if word == "cellx":
            self._defined.below.append(below)
            self._defined.beside.append(beside)
            self._flags = (False, False)
        else:
            self._flags = (below or word == "clvmrg", beside or word == "clmrg")

    def end(self) -> None:
        """Everything that has begun is brought to its end."""
        if self._row.cells:
            self._end_row()
        self._end_table()
        self._take_paragraph()

    def _taken(self) -> str:
        text = "".join(self._words)
        self._words = []
        return text

    def _before_row(self) -> None:
        """Words that no paragraph's end came behind stand before the table."""
        if "".join(self._words).strip():
            self._end_table()
            self._take_paragraph()

    def _take_paragraph(self) -> None:
        text = self._taken()
        if self._level is not None and 0 <= self._level < 6 and text.strip():
            text = "#" * (self._level + 1) + " " + " ".join(text.split())
        self._blocks.append(text)

    def _end_row(self) -> None:
        if self._words and "".join(self._words).strip():
            self._row.cells.append(self._taken())
        self._row.below, self._row.beside = self._defined.below, self._defined.beside
        if self._row.cells:
            self._table.append(self._row)
        self._row, self._in_row = _Row(), False

    def _end_table(self) -> None:
        if not self._table:
            return
        made, rows = sparse_table(
            {(row, column): text for row, line in enumerate(self._table) for column, text in enumerate(line.cells)},
            self._merged(),
        )
        self.rows += rows
        self._blocks.append(f"\n{made}")
        self._table = []

    def _merged(self) -> list[Region]:
        """Regions by the cell that each begins with."""
        found: list[Region] = []
        for row, line in enumerate(self._table):
            for column in range(len(line.cells)):
                if (row and line.below[column : column + 1] == [True]) or line.beside[column : column + 1] == [True]:
                    continue  # it is a part of one that was found
                last_column, last_row = column, row
                while last_column + 1 < len(line.beside) and line.beside[last_column + 1]:
                    last_column += 1
                while last_row + 1 < len(self._table) and self._table[last_row + 1].below[column : column + 1] == [
                    True
                ]:
                    last_row += 1
                if (last_column, last_row) != (column, row):
                    found.append((row, column, last_row, last_column))
        return found
