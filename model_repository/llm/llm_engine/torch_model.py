"""A causal language model of transformers over a KV cache of slots: each row of a step goes on with a sequence of its own.

transformers' own continuous batching (read in 5.17 and 5.23) draws for all requests alike: no seed, penalty, forbidden token
or log probability of one request alone. So its models are used and its batching is not, through two of its extension points:
an attention function and an object that it takes for its cache.

Every step has one of two shapes, so what one sequence gets does not depend on how many run beside it, and on a GPU each shape
is recorded once as a CUDA graph. What has no place in a step is padding: it writes to a cell that nobody reads.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AutoModelForCausalLM

from llm_engine.parameters import BadParameter

ATTENTION = "ragfleet_slots"
CELLS_A_BLOCK = 64
"""The cache's length is a multiple of it: the attention kernels want an aligned mask."""
LIKELIEST = -1
"""In place of a token: the one that the last pass of this shape found likeliest for the row."""
WARM_UPS = 3
"""Passes before a CUDA graph is recorded: libraries choose and allocate in the first ones."""
SAME = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.25}
"""How far, relatively, logits through the slots may be from the model's own. Rounding stays well under it; what has nothing to
do with them is 1.4 away."""


class SlotCache:
    """What transformers' layers take for their cache: keys and values [slots, heads, cells, size] for each layer.

    A step says beforehand which slots its rows are and which cells its tokens.
    """

    def __init__(self, slots: int, cells: int) -> None:
        self.cells = cells
        self._slots = slots
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._rows: torch.Tensor | None = None
        self._places: tuple[torch.Tensor, torch.Tensor] | None = None

    def point(self, rows: torch.Tensor, cells: torch.Tensor, *, whole: bool) -> None:
        """The next pass writes token t of row r to slot `rows[r]`, cell `cells[r, t]`. `whole`: all slots, in order."""
        self._rows = None if whole else rows
        self._places = rows[:, None].expand_as(cells), cells

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each layer with what it computed, [rows, heads, tokens, size]: all keys and values of the rows' slots."""
        assert self._places is not None
        rows, cells = self._places
        if layer not in self._layers:
            self._layers[layer] = self._empty(keys), self._empty(values)
        whole = []
        for kept, new in zip(self._layers[layer], (keys, values), strict=True):
            kept[rows, :, cells] = new.transpose(1, 2)
            whole.append(kept if self._rows is None else kept.index_select(0, self._rows))
        return whole[0], whole[1]

    def get_seq_length(self, *_: Any) -> int:
        """transformers derives positions and masks from it where they are not given; here they are."""
        return 0

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self._slots, like.shape[1], self.cells, like.shape[3])


class Step:
    """A forward pass over so many rows of so many tokens, each row one slot's. Padding stands in front of a row's tokens."""

    def __init__(self, model: Any, cache: SlotCache, *, rows: int, tokens: int, whole: bool, padding_cell: int) -> None:
        self.tokens = tokens
        self._model = model
        self._cache = cache
        self._whole = whole
        self._padding_cell = padding_cell
        self._device = model.device
        self._given = torch.zeros(3, rows, tokens, dtype=torch.long, device=self._device)
        """Ids, cells and slots."""
        self._given[1] = padding_cell
        self._given[2] = torch.arange(rows, device=self._device)[:, None]
        self._range = torch.arange(cache.cells, device=self._device)
        self._best = torch.zeros(rows, dtype=torch.long, device=self._device)
        self._logits: torch.Tensor | None = None
        self._replay: Callable[[], None] = self._forward

    def record(self) -> None:
        """From now on replay a CUDA graph. Raises RuntimeError where the model does what a graph cannot hold."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._forward()
        self._replay = graph.replay

    def launch(self, rows: Sequence[tuple[int, Sequence[int], int]]) -> "Pass":
        """Begin a pass, behind those begun before. Each row: its slot, its next tokens, the cell of the first of them."""
        padding = self._padding_cell
        ids, cells, slots = [], [], []
        for slot, tokens, begin in rows:
            pad = self.tokens - len(tokens)
            ids.append([0] * pad + list(tokens))
            cells.append([padding] * pad + list(range(begin, begin + len(tokens))))
            slots.append([slot] * self.tokens)
        self._given.copy_(torch.tensor([ids, cells, slots]))
        self._replay()
        assert self._logits is not None
        return Pass(self._best, self._logits)

    def _forward(self) -> None:
        ids, cells, slots = self._given
        self._cache.point(slots[:, 0], cells, whole=self._whole)
        visible = self._range <= cells[:, None, :, None]
        mask = torch.zeros(visible.shape, dtype=self._model.dtype, device=self._device)
        out = self._model(
            input_ids=torch.where(ids == LIKELIEST, self._best[:, None], ids),
            position_ids=torch.where(cells == self._padding_cell, 0, cells),
            attention_mask=mask.masked_fill(~visible, -torch.inf),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._logits = out.logits[:, -1].float()
        self._best.copy_(self._logits.argmax(-1))


class Pass:
    """A pass that a GPU may still be at work on."""

    def __init__(self, best: torch.Tensor, logits: torch.Tensor) -> None:
        self.logits = logits
        """FP32 [rows, vocabulary]; the next pass of this shape overwrites it."""
        self._event: torch.cuda.Event | None = None
        if best.is_cuda:
            self._best = torch.empty(best.shape, dtype=best.dtype, pin_memory=True)
            self._best.copy_(best, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._best = best.clone()

    def best(self) -> list[int]:
        """The likeliest next token of each row, once they are known."""
        if self._event is not None:
            self._event.synchronize()  # other threads run meanwhile
        return self._best.tolist()  # type: ignore[no-any-return]


class SlotModel:
    """The model and its slots. For one thread at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int,
        max_context: int,
        chunk: int,
        device: str,
        dtype: str,
        cuda_graphs: bool,
        log: Callable[[str], None],
    ) -> None:
        """Loads the weights. `chunk`: prompt tokens in one pass at most. Raises BadParameter for a model that it cannot serve."""
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.dtype = ("bfloat16" if self.device.startswith("cuda") else "float32") if dtype == "auto" else dtype
        if self.dtype not in SAME:
            raise BadParameter(f"llm: dtype {dtype!r}; there are auto, {', '.join(SAME)}")
        AttentionInterface.register(ATTENTION, _attend)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, self.dtype), attn_implementation="sdpa", local_files_only=True
        )
        self._model.to(self.device).eval()
        _check_attention(self._model.config.get_text_config(), max_context)
        cells = -(-(max_context + 1) // CELLS_A_BLOCK) * CELLS_A_BLOCK
        self._cache = SlotCache(slots, cells)
        self._slots = slots
        self._padding_cell = max_context
        self._prompt_step = self._step(rows=1, tokens=chunk)
        self._token_step = self._step(rows=slots, tokens=1, whole=True)
        with torch.inference_mode():
            self._check()
            if cuda_graphs and self.device.startswith("cuda"):
                self._record(log)

    @property
    def chunk(self) -> int:
        """Prompt tokens in one pass at most."""
        return self._prompt_step.tokens

    def read(self, slot: int, tokens: Sequence[int], begin: int) -> tuple[int, torch.Tensor]:
        """Put at most `chunk` tokens behind the first `begin` of a slot: the likeliest next one, and the logits [vocabulary]."""
        with torch.inference_mode():
            done = self._prompt_step.launch([(slot, tokens, begin)])
            return done.best()[0], done.logits[0]

    def next(self, lasts: Mapping[int, tuple[int | None, int]]) -> Pass:
        """Begin one step of several slots. `lasts`: slot → (its last token, that token's cell); None: the token that the step
        before finds likeliest, which need not be known yet. What comes out is by slot; for others it means nothing."""
        rows = []
        for slot in range(self._slots):
            token, cell = lasts.get(slot, (0, self._padding_cell))
            rows.append((slot, (LIKELIEST if token is None else token,), cell))
        with torch.inference_mode():
            return self._token_step.launch(rows)

    def synchronize(self) -> None:
        """Wait for the GPU. Raises RuntimeError when this process can no longer use it."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    def _step(self, *, rows: int, tokens: int, whole: bool = False) -> Step:
        return Step(self._model, self._cache, rows=rows, tokens=tokens, whole=whole, padding_cell=self._padding_cell)

    def _record(self, log: Callable[[str], None]) -> None:
        try:
            for step in (self._prompt_step, self._token_step):
                step.record()
        except RuntimeError as error:
            log(f"llm: this model cannot be recorded as a CUDA graph, so each step costs more: {error}")

    def _check(self) -> None:
        """A model that keeps more than keys and values, or attends in a way of its own, must be found out here."""
        model = self._model
        ids = [(7 * n + 1) % model.config.get_text_config().vocab_size for n in range(min(24, self._padding_cell))]
        own = model(input_ids=torch.tensor([ids], device=self.device), use_cache=False).logits[0, -1].float()
        model.set_attn_implementation(ATTENTION)
        slot, split = self._slots - 1, max(1, min(len(ids) - 8, self.chunk))
        _, logits = self.read(slot, ids[:split], 0)
        for cell in range(split, len(ids)):
            logits = self.next({slot: (ids[cell], cell)}).logits[slot]
        distance = float((logits - own).norm() / own.norm())
        if not distance <= SAME[self.dtype]:
            raise BadParameter(
                f"llm: the flavour torch cannot serve a {type(model).__name__}: through a KV cache of slots its logits are"
                f" {distance:.2g} off. Serve it with llmapi"
            )


def _attend(  # noqa: PLR0917 - transformers calls it so
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with a mask, [rows, heads, tokens, size] → [rows, tokens, heads, size].

    Heads that share keys stand beside each other as tokens: SDPA's own `enable_gqa` has no fast kernel for a mask, and repeating
    the keys would copy the whole cache in every layer.
    """
    del module
    rows, heads, tokens, size = query.shape
    shared = key.shape[1]
    group = heads // shared
    mask = attention_mask.expand(rows, group, tokens, -1).reshape(rows, 1, group * tokens, -1)
    out = scaled_dot_product_attention(
        query.reshape(rows, shared, group * tokens, size), key, value, attn_mask=mask, scale=scaling
    )
    return out.reshape(rows, heads, tokens, -1).transpose(1, 2), None


def _check_attention(config: Any, max_context: int) -> None:
    """Raises BadParameter for layers that do not see the whole context."""
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    slides = window is not None and 0 < window < max_context and (not kinds or "sliding_attention" in kinds)
    if slides or kinds - {"full_attention", "sliding_attention"}:
        raise BadParameter(
            f"llm: the flavour torch serves models whose layers see the whole context, not {', '.join(sorted(kinds)) or window}."
            f" Lower max_context to the window ({window}), or serve the model with llmapi"
        )
