"""Makes the two lists that keyword search reads, from dictionaries that are not among the project's dependencies:

    pip install simplemma==2.0.0 opencc-python-reimplemented==0.1.7
    python -m build_scripts.word_lists

`tokens/german_parts.txt`: how many German words begin and end with a shorter word. `tokens/simplified_characters.txt`: a
traditional Chinese character and its simplified form a line.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from tokens.keywords import indexed

_FOLDER = Path(__file__).parents[1] / "tokens"
_LEAST = 3
"""Words that begin or end with a part, for it to be one."""
_LINKS = ("", "s", "es", "n", "en", "er", "e")
# Prefixes of verbs, and endings that make words of words, are no parts: they say nothing.
_NO_BEGINNING = frozenset(
    """
    ander anti auf aufeinander aus auseinander aneinander dahin daneben davon dazu durch ein empor entgegen fest fort gegen
    gegenüber heraus herab herum herunter hervor hinab hinaus hindurch hinein hinter hinunter hoch inter los mit nach nieder
    rück selbst umher unter voll voran voraus vorbei vorwärts wied wieder weg weit weiter zurück zusammen über überein
    """.split()  # noqa: SIM905 - a list literal of them would be ten times as many lines
)
_NO_END = frozenset(
    """
    arisch artig chen ende este fähig haft heit ibel ieren ierung isch ische ismus istisch istisch ität keit lich ling
    nisch schaft tion isten weise
    """.split()  # noqa: SIM905 - as above
)
_GERMAN_HEAD = """\
# Parts of German compounds with the number of words that begin or end with them: words, part, and without its ending.
# Counted by build_scripts/word_lists.py in the German dictionary of simplemma 2.0.0 (Adrien Barbaresi), which is made of
# Michal Mechura's lemmatization lists (Open Database License), Wiktionary by Kaikki (CC BY-SA 4.0), FreeLing, spaCy's lookups,
# Unimorph and Wikinflection (CC BY 4.0). This list may be used under the same licences.
"""
_CHINESE_HEAD = """\
# Traditional Chinese characters and their simplified form, from OpenCC's TSCharacters
# (Apache License 2.0, github.com/BYVoid/OpenCC).
"""


def main() -> None:
    """Write both lists."""
    from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory

    dictionary = DefaultDictionaryFactory().get_dictionary("de")
    lemmas = {lemma.lower() for lemma in dictionary.values() if lemma.isalpha()}
    begin, end = _counted(lemmas)
    begins, ends = Counter[tuple[str, str]](), Counter[str]()
    for word, number in begin.items():
        if number >= _LEAST and word not in _NO_BEGINNING:
            begins[_folded(word), _stem(word)] += number
    for word, number in end.items():
        if number >= _LEAST and word not in _NO_END and len(_stem(word)) >= 3:
            ends[_stem(word)] += number
    lines = [
        f"begin {number} {part} {stem}".removesuffix(f" {part}") for (part, stem), number in sorted(begins.items())
    ]
    lines += [f"end {number} {part}" for part, number in sorted(ends.items())]
    _write("german_parts.txt", _GERMAN_HEAD, lines)
    _write("simplified_characters.txt", _CHINESE_HEAD, sorted(_simplified()))


def _counted(words: set[str]) -> tuple[Counter[str], Counter[str]]:
    begin, end = Counter[str](), Counter[str]()
    for word in words:
        found = list(_splits(word, words))
        begin.update({head for head, _ in found})
        end.update({tail for _, tail in found})
    return begin, end


def _splits(word: str, words: set[str]) -> Iterator[tuple[str, str]]:
    for at in range(4, len(word) - 3):
        if (tail := word[at:]) not in words:
            continue
        for link in _LINKS:
            head = word[: at - len(link)]
            if len(head) >= 4 and word[at - len(link) : at] == link and head in words:
                yield head, tail


def _folded(word: str) -> str:
    return word.casefold().translate(str.maketrans("äöü", "aou"))


def _stem(word: str) -> str:
    return indexed(word.casefold())


def _simplified() -> Iterator[str]:
    for line in (files("opencc") / "dictionary" / "TSCharacters.txt").read_text("utf-8-sig").splitlines():
        traditional, simple = line.split("\t")
        first = simple.split()[0]
        if len(traditional) == len(first) == 1 and traditional != first:
            yield traditional + first


def _write(name: str, head: str, lines: Iterable[str]) -> None:
    (_FOLDER / name).write_text(head + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
