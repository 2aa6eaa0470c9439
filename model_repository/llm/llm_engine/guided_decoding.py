"""What an answer may go on with under a guide: llguidance's matcher over the model's own tokens.

The matcher reads token ids. So an answer that goes on elsewhere needs no grammar of what is left: the matcher there is given the
ids of the answer so far (`guided_decoding_prefix_length`) and stands where the other one stood.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llm_engine.errors import InvalidRequest
from llm_engine.request import GuidedDecoding

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

GUIDE, PREFIX = "guided_decoding_guide", "guided_decoding_prefix_length"
MAX_GUIDE_BYTES = 256 << 10
MAX_RULES = 1000
"""Of a grammar. What two thousand take that refer to each other twice is a quarter of a minute."""
KEPT_GUIDES = 64
HEADER = '%llguidance {"no_forcing": true}\n'
"""Every spelling that the grammar allows may come, not only the tokenizer's own: the model chooses, no tokenizer is needed."""
JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "coerce_one_of": True}
"""White space between any two tokens is where a small model that has lost its way goes on for ever."""
STEP_ITEMS, STEP_FUEL, ROW_ITEMS = 10_000, 100_000, 1000
"""Bounds of the work for one token; beyond them the answer fails."""


class GuideCompiler:
    """Makes constraints. Thread-safe; guides that were seen lately are not compiled again."""

    def __init__(self, read: Callable[[], Sequence[bytes]], *, vocab_size: int) -> None:
        """read: what each id of the vocabulary spells, b"" for those that no text may become. Called with the first guide."""
        self._read = read
        self._vocab_size = vocab_size
        self._lock = threading.Lock()
        self._vocabulary: tuple[LLTokenizer, npt.NDArray[np.bool_]] | None = None
        self._kept: OrderedDict[tuple[str, str], LLMatcher | str] = OrderedDict()
        """By kind and text: a matcher at its start, or why there can be none."""

    def load(self) -> None:
        """Read the vocabulary, where that is not done yet: seconds of a busy machine. Raises BadRequest."""
        if find_spec("llguidance") is not None:
            self._tokens()

    def compile(self, guided: GuidedDecoding, input_ids: Sequence[int]) -> "Constraint":
        """The constraint behind the prefix. Takes milliseconds, seconds at the worst. Raises BadRequest."""
        if find_spec("llguidance") is None:
            raise InvalidRequest(GUIDE, "this engine has no backend for it: install llguidance beside it")
        tokenizer, textual = self._tokens()
        matcher = self._matcher(guided, tokenizer).deep_copy()
        done = guided.prefix_length
        if done and not matcher.consume_tokens(list(input_ids[len(input_ids) - done :])):
            raise InvalidRequest(PREFIX, f"the last {done} tokens of the prompt do not follow the guide")
        return Constraint(matcher, textual)

    def _tokens(self) -> tuple["LLTokenizer", npt.NDArray[np.bool_]]:
        with self._lock:
            if self._vocabulary is None:
                try:
                    known = self._read()[: self._vocab_size]
                except (OSError, ValueError) as error:
                    raise InvalidRequest(GUIDE, f"the model's tokens cannot be read for it: {error}") from error
                bytes_of = [*known, *[b""] * (self._vocab_size - len(known))]
                self._vocabulary = _tokenizer(bytes_of), np.array([bool(text) for text in bytes_of])
            return self._vocabulary

    def _matcher(self, guided: GuidedDecoding, tokenizer: "LLTokenizer") -> "LLMatcher":
        from llguidance import LLMatcher, LLParserLimits

        key = guided.kind, guided.guide
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            limits = LLParserLimits(
                step_max_items=STEP_ITEMS, step_lexer_fuel=STEP_FUEL, max_items_in_row=ROW_ITEMS, verbose_errors=False
            )
            kept = made = LLMatcher(tokenizer, grammar(guided), log_level=0, limits=limits)
            if made.is_error():
                kept = _first_line(made.get_error())
            with self._lock:
                self._kept[key] = kept
                if len(self._kept) > KEPT_GUIDES:
                    self._kept.popitem(last=False)
        else:
            with self._lock:
                self._kept.move_to_end(key)
        if isinstance(kept, str):
            raise InvalidRequest(GUIDE, kept)
        return kept


class Constraint:
    """Which tokens may come next in one answer. Not thread-safe."""

    def __init__(self, matcher: "LLMatcher", textual: npt.NDArray[np.bool_]) -> None:
        """textual: of each id, whether it spells anything."""
        self._matcher = matcher
        self._textual = textual
        self._mask = np.zeros(-(-len(textual) // 32), np.int32)

    @property
    def ended(self) -> bool:
        """Whether the answer is whole and nothing can follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def allowed(self, *, ends: Collection[int], banned: Collection[int] = ()) -> npt.NDArray[np.intp]:
        """Ids that may come next, rising; `ends` are among them where the answer may end here, `banned` never.

        Empty where nothing is left to come: see `failure`.
        """
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._matcher.is_error():
            return np.empty(0, np.intp)
        may = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(self._textual)].astype(np.bool_)
        may &= self._textual
        if ends and self._matcher.is_accepting():
            may[[token for token in ends if token < may.size]] = True
        if banned:
            may[[token for token in banned if token < may.size]] = False
        return np.flatnonzero(may)

    def take(self, token: int) -> None:
        """The token has come; it was allowed."""
        self._matcher.consume_token(token)

    @property
    def failure(self) -> str:
        """Why nothing may come next."""
        if self._matcher.is_error():
            return str(
                InvalidRequest(GUIDE, f"it is too complex to be followed: {_first_line(self._matcher.get_error())}")
            )
        return str(InvalidRequest(GUIDE, "bad_words_list forbids every token that may come next"))


def grammar(guided: GuidedDecoding) -> str:
    """The guide in llguidance's own language. Raises BadRequest."""
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import any_to_lark

    if len(guided.guide.encode()) > MAX_GUIDE_BYTES:
        raise InvalidRequest(GUIDE, f"more than {MAX_GUIDE_BYTES} bytes")
    if guided.kind == "json":
        return _json_grammar({"type": "object"})
    if guided.kind == "json_schema":
        try:
            return _json_grammar(json.loads(guided.guide))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(GUIDE, f"it is no JSON schema: {error}") from error
    if guided.kind == "regex":
        made: str = json.loads(LLMatcher.grammar_from_regex(guided.guide))["grammars"][0]["lark_grammar"]
        return HEADER + made
    try:
        lark = any_to_lark(guided.guide)
    except Exception as error:  # a parser in Python: it raises exceptions of many kinds
        raise InvalidRequest(GUIDE, f"it is no grammar in EBNF: {_first_line(str(error))}") from error
    if lark.count(":") > MAX_RULES:  # each rule has one, wherever it stands
        raise InvalidRequest(GUIDE, f"a grammar has at most {MAX_RULES} rules, and as many colons")
    return HEADER + re.sub(r"^\s*%llguidance\s*\{.*\}\s*$", "", lark, count=1, flags=re.MULTILINE)


def _json_grammar(schema: Any) -> str:
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise InvalidRequest(GUIDE, "a JSON schema is an object")
    given = schema.get("x-guidance")
    lenient = isinstance(given, dict) and given.get("lenient") is True
    options = JSON_OPTIONS | {"lenient": lenient}
    return f"{HEADER}start: %json {json.dumps(schema | {'x-guidance': options})}\n"


def _first_line(error: str) -> str:
    """What is wrong, without the grammar around the client's schema, which llguidance shows below it with its lines' numbers."""
    error = re.sub(r"^at \d+\(\d+\): ", "", re.split(r"\n\s*1 \| ", error, maxsplit=1)[0])
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " ".join(lines)[:500] if lines else "llguidance refuses it"


class _Tokens:
    """A vocabulary as LLTokenizer takes it."""

    is_tokenizer_wrapper = True
    _accepts_bytes = True
    eos_token_id = 0
    """Never asked for: where an answer may end, the constraint puts the request's own end tokens in."""
    bos_token_id = None
    special_token_ids: Sequence[int] = ()

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tokens

    def __call__(self, text: bytes) -> list[int]:
        """Only what forces a spelling (see HEADER) would tokenize."""
        return []


def _tokenizer(bytes_of: Sequence[bytes]) -> "LLTokenizer":
    from llguidance import LLTokenizer

    return LLTokenizer(_Tokens(bytes_of), slices=LLTokenizer.json_slices())  # type: ignore[arg-type] # it has what is read
