"""The parts of German compounds: `Kündigungsfrist` has `Kündigung` and `Frist`. Reads one file of the package.

What a word may be made of is counted in a dictionary (build_scripts/word_lists.py): a part begins or ends three words or
more, and is neither a prefix of verbs nor an ending that makes words of words: `Abhängigkeit` stays whole.
"""

from functools import cache, lru_cache
from importlib.resources import files

_SHORTEST = 8
"""Letters of a word that is looked at, without its ending."""
_LINKS = ("", "s", "es", "n", "en", "er", "e")
"""What may stand between two parts."""
_LONGEST = 64


@lru_cache(maxsize=65536)
def parts(word: str) -> tuple[str, ...]:
    """The two parts of a word, () if it is none of two. All are as keyword search has them: in lower case, without umlauts and
    endings."""
    if not _SHORTEST <= len(word) <= _LONGEST:
        return ()
    begin, end = _counts()
    best: tuple[str, ...] = ()
    most = 0
    for at in range(4, len(word) - 2):
        tail = word[at:]
        if tail not in end:
            continue
        for link in _LINKS:
            head = word[: at - len(link)]
            known = begin.get(head) if len(head) >= 4 and word[at - len(link) : at] == link else None
            if known and min(known[0], end[tail]) > most:
                most, best = min(known[0], end[tail]), (known[1], tail)
    return best


@cache
def _counts() -> tuple[dict[str, tuple[int, str]], dict[str, int]]:
    """Beginnings with the number of words that begin so, and as they are without their ending; endings with their number."""
    begin: dict[str, tuple[int, str]] = {}
    end: dict[str, int] = {}
    counts = (
        files("tokens") / "german_parts.txt"
    )  # see NOTICE: who may not pass it on leaves it out, and no word has parts
    for line in counts.read_text("utf-8").splitlines() if counts.is_file() else ():
        if line.startswith("#"):
            continue
        kind, number, part, *stem = line.split()
        if kind == "begin":
            begin[part] = int(number), (stem or [part])[0]
        else:
            end[part] = int(number)
    return begin, end
