"""A model's vocabulary: what each token id is in bytes, which ids end an answer, and how text becomes ids.

It reads a Hugging Face `tokenizer.json` of one of the two families that language models use:
byte-level BPE (GPT-2's alphabet of bytes: SmolLM2, Llama 3, Qwen 2.5) and SentencePiece (`▁` for a space, `<0xNN>` for
a single byte: Llama 2, Mistral, Gemma).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tokens.token_bytes import byte_level, sentence_piece

# Special tokens that end a turn by convention, whatever the configuration files say. llama.cpp has the same list
# (`special_eog_ids` in llama-vocab.cpp): a fine-tuned model's eos is often still that of its base model.
_ENDS_BY_CONVENTION = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
)
# Of a text with a hole: what goes before its beginning, before its end, and before what fills it.
_INFILLS = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),
)
# What a normalizer other than these does may make text shorter: composed, 4 bytes become 1 at the worst.
_LENGTHENING = frozenset({"Replace", "Prepend", "ByteLevel"})
_SHRINKAGE = 4
# Between a word and the next: byte-level BPE's pre-tokenizers begin a new word there.
_SEAM = re.compile(r"(?<=[^\s])(?= [^\s])")
_PROBE = "One two, 2 3 !(four) -- don't é 中 'x' _y \"z\" #a\n b .c"
_PIECE = 1 << 14
"""Characters."""


class BadTokenizer(ValueError):
    """The folder holds no tokenizer that this project can read; the message says which file and why."""


class TooManyTokens(ValueError):
    """A text has more tokens than it may have, `at_least` so many."""

    def __init__(self, at_least: int) -> None:
        super().__init__(f"at least {at_least} tokens")
        self.at_least = at_least


@dataclass(frozen=True, slots=True)
class ControlToken:
    """A token that a chat template writes and that text must never become by accident.

    `eats_left` and `eats_right` say that white space beside it in a template is dropped (`lstrip`, `rstrip` in
    tokenizer.json).
    """

    id: int
    special: bool
    eats_left: bool
    eats_right: bool


class TokenTable:
    """Immutable; safe to share between threads."""

    __slots__ = (
        "_longest",
        "_plain",
        "_plain_inside",
        "_seams",
        "bytes_of",
        "controls",
        "end_id",
        "end_ids",
        "first_text_of",
        "infill",
        "special_names",
        "text_of",
    )

    def __init__(self, definition: Mapping[str, Any], *, end_ids: Iterable[int] = ()) -> None:
        """`definition` is a parsed tokenizer.json; `end_ids` are added to those known by convention.

        Raises BadTokenizer when the tokenizer belongs to neither family.
        """
        added = {
            token["content"]: ControlToken(token["id"], token["special"], token["lstrip"], token["rstrip"])
            for token in definition.get("added_tokens", ())
        }
        self.controls: Mapping[str, ControlToken] = added
        self.special_names = {token.id: name for name, token in added.items() if token.special}
        """They have no text."""
        fills = (names for names in _INFILLS if all(name in added for name in names))
        self.infill: tuple[int, ...] | None = next((tuple(added[n].id for n in names) for names in fills), None)
        """The tokens for filling in, of StarCoder's, Qwen's, DeepSeek's or Code Llama's kind; None where there are none."""
        conventional = (added[name].id for name in _ENDS_BY_CONVENTION if name in added)
        known = tuple(conventional)
        self.end_ids = frozenset(end_ids) | frozenset(known)
        # The one to give to an engine that takes only one: what ends a turn goes before what ends a text.
        self.end_id: int | None = known[0] if known else min(self.end_ids, default=None)

        # Without its added tokens a tokenizer reads "<|im_end|>" as the ten characters that somebody typed.
        to_bytes = _reader_of(definition)
        self._plain = _tokenizer({**definition, "added_tokens": []})
        self._plain_inside = self._plain
        if (definition.get("pre_tokenizer") or {}).get("prepend_scheme") == "first":
            inside = {**definition["pre_tokenizer"], "prepend_scheme": "never"}
            self._plain_inside = _tokenizer({**definition, "added_tokens": [], "pre_tokenizer": inside})

        vocabulary: dict[str, int] = self._plain.get_vocab()
        size = 1 + max([*vocabulary.values(), *(token.id for token in added.values())])
        bytes_of = [b""] * size
        for token, number in vocabulary.items():
            bytes_of[number] = to_bytes(token)
        for content, control in added.items():
            bytes_of[control.id] = b"" if control.special else content.encode()
        self.bytes_of = bytes_of
        self._longest = max(map(len, bytes_of)) * (_SHRINKAGE if _may_shrink(definition) else 1)
        self._seams = _cuts_at_spaces(self._plain, definition)
        # None where a token is only a part of a character.
        self.text_of = [_whole(piece) for piece in bytes_of]
        # What a token reads at the very start, for tokenizers that drop the space there; None for all others.
        drop = _leading_space(definition)
        self.first_text_of = [text if text is None else drop(text) for text in self.text_of] if drop else None

    @classmethod
    def load(cls, folder: Path) -> TokenTable:
        """Read `tokenizer.json` and, for the end tokens, tokenizer_config, generation_config and config.json beside it.

        Raises BadTokenizer when the folder has no readable tokenizer.json.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise BadTokenizer(f"{path} is missing: make it with 'python -m build_scripts.tokenizer --out {folder}'")
        try:
            definition = _json_object(path)
            added = {token["content"]: token["id"] for token in definition.get("added_tokens", ())}
            return cls(definition, end_ids=_configured_ends(folder, added))
        except BadTokenizer as error:
            raise BadTokenizer(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise BadTokenizer(f"{path} is not a tokenizer.json: {error!r}") from error

    @property
    def vocab_size(self) -> int:
        """One more than the greatest id, added tokens included."""
        return len(self.bytes_of)

    def least_tokens(self, *texts: str) -> int:
        """How many tokens the texts have together at the least: their bytes by the longest token's. Nothing is tokenized."""
        size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
        return size // self._longest

    def encode(self, text: str, *, inside: bool = False, limit: int | None = None) -> list[int]:
        """Ids of `text` read as text: names of special tokens in it stay plain characters; nothing is added to it.

        `inside` says that the text stands behind a control token, where some SentencePiece tokenizers put no space. With a
        `limit` a long text is not read to its end once it has more tokens: raises TooManyTokens. Other threads run meanwhile.
        """
        if limit is not None and (least := self.least_tokens(text)) > limit:
            raise TooManyTokens(least)
        tokenizer = self._plain_inside if inside else self._plain
        ids: list[int] = []
        for piece in self._pieces(text):
            if limit is not None and len(ids) > limit:
                raise TooManyTokens(len(ids))
            # Of a batch, for that lets go of Python's lock and counts no offsets; `encode` does neither.
            ids += tokenizer.encode_batch_fast([piece], add_special_tokens=False)[0].ids
        return ids

    def _pieces(self, text: str) -> Iterator[str]:
        """The text in pieces whose tokens are those of the whole; one where nothing says that it can be cut."""
        start = 0
        while self._seams and len(text) - start > _PIECE and (seam := _SEAM.search(text, start + _PIECE)) is not None:
            yield text[start : seam.start()]
            start = seam.start()
        yield text[start:]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of whole `ids`; special tokens, padding (negative ids) and ids beyond the vocabulary are left out."""
        known = [number for number in ids if 0 <= number < len(self.bytes_of) and self.bytes_of[number]]
        pieces = [self.bytes_of[number] for number in known]
        if self.first_text_of is not None and known and (first := self.first_text_of[known[0]]) is not None:
            pieces[0] = first.encode()
        return b"".join(pieces).decode("utf-8", "replace")


def _tokenizer(definition: Mapping[str, Any]) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(definition))
    except Exception as error:  # the library raises nothing narrower
        raise BadTokenizer(str(error)) from error


def _reader_of(definition: Mapping[str, Any]) -> Callable[[str], bytes]:
    """The function from a token's name in the vocabulary to its bytes, by the kind of decoder."""
    kinds = {part["type"] for part in _decoders(definition)}
    if "ByteLevel" in kinds:
        return byte_level
    if kinds & {"ByteFallback", "Metaspace"}:
        return sentence_piece
    raise BadTokenizer(f"decoder {sorted(kinds)} is neither byte-level BPE nor SentencePiece")


def _decoders(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    decoder = definition.get("decoder") or {"type": "none"}
    return list(decoder["decoders"]) if decoder["type"] == "Sequence" else [decoder]


def _leading_space(definition: Mapping[str, Any]) -> Callable[[str], str] | None:
    """How the first token loses the space that SentencePiece puts before a text; None where it does not."""
    for part in _decoders(definition):
        if part["type"] == "Strip" and part["content"] == " " and part["start"] > 0:
            return lambda text: text.removeprefix(" ")
        if part["type"] == "Metaspace" and part.get("prepend_scheme", "always") != "never":
            return lambda text: text.lstrip(" ")
    return None


def _parts(component: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    """A normalizer or a pre-tokenizer as the list of those that it is a sequence of."""
    if component is None:
        return []
    return list(component[name]) if component["type"] == "Sequence" else [component]


def _may_shrink(definition: Mapping[str, Any]) -> bool:
    parts = _parts(definition.get("normalizer"), "normalizers")
    return any(part["type"] not in _LENGTHENING for part in parts)


def _cuts_at_spaces(tokenizer: Tokenizer, definition: Mapping[str, Any]) -> bool:
    """Whether no token reaches over a seam: the pre-tokenizer begins a word at each, and nothing looks at a text as a whole."""
    normalizers = {part["type"] for part in _parts(definition.get("normalizer"), "normalizers")}
    if tokenizer.pre_tokenizer is None or normalizers - {"NFC"}:
        return False
    words = tokenizer.pre_tokenizer.pre_tokenize_str(_PROBE)
    return {seam.start() for seam in _SEAM.finditer(_PROBE)} <= {start for _, (start, _) in words}


def _whole(piece: bytes) -> str | None:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _configured_ends(folder: Path, ids: Mapping[str, int]) -> set[int]:
    """End ids named by the configuration files beside a tokenizer.json; a file that is not there names none."""
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        eos = _json_object(folder / name).get("eos_token_id")
        ends.update(eos if isinstance(eos, list) else [eos] if isinstance(eos, int) else [])
    eos = _json_object(folder / "tokenizer_config.json").get("eos_token")
    content = eos.get("content") if isinstance(eos, dict) else eos
    if isinstance(content, str) and content in ids:
        ends.add(ids[content])
    return ends


def _json_object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return value if isinstance(value, dict) else {}
