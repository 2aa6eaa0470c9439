"""A model's own chat template, rendered so that only the template can write control tokens.

A template writes markers such as `<|im_end|>` as text, and a tokenizer turns that text into control tokens, wherever it
came from. So the messages' own occurrences are replaced by placeholders before rendering, and the rendered text is cut
at the control tokens: the pieces between them are encoded as plain text, with the placeholders put back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prompt_builder.disarming import disarming
from prompt_builder.errors import BadEffort, BadMessages
from prompt_builder.messages import PromptMessage
from tokens import TokenTable

# Private-use characters around a placeholder's number; the messages' own ones become placeholders too.
_OPEN, _CLOSE = "\ue000", "\ue001"
# Characters of a prompt that is read to its end even where it has too many tokens, so that the error can say how many.
_LONG = 1 << 15
_EFFORTS = frozenset({"reasoning_effort", "enable_thinking", "thinking"})
"""What templates call it: the effort itself (gpt-oss), or whether there is to be any (Qwen, DeepSeek)."""
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


class ChatTemplate:
    """Immutable; rendering has no side effect."""

    def __init__(
        self,
        source: str,
        table: TokenTable,
        *,
        specials: Mapping[str, str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """`source` is Jinja as in transformers; `specials` its variables bos_token, eos_token, unk_token, pad_token.

        Raises ValueError when `source` is no template.
        """
        self._table = table
        self._specials = dict(specials or {})
        names = sorted(table.controls, key=len, reverse=True)
        self._to_hide = re.compile("|".join(map(re.escape, [*names, _OPEN])))
        self._cuts = re.compile("|".join([*map(re.escape, names), f"{_OPEN}(?P<hidden>[0-9]+){_CLOSE}"]))
        self.knows_tools = "tools" in source
        """Whether it tells a model of functions in the model's own way."""
        self._short_ids = "[TOOL_CALLS]" in source
        self.disarmed = disarming(source)
        """A passage, so that none of the template's own markers is in it."""
        try:
            environment = _environment(now)
            self._template = environment.from_string(source)
            self._efforts = _EFFORTS & meta.find_undeclared_variables(environment.parse(source))
        except TemplateSyntaxError as error:
            raise ValueError(f"the chat template is not valid Jinja: {error}") from error

    @classmethod
    def load(cls, folder: Path, table: TokenTable) -> ChatTemplate:
        """Read chat_template.jinja (or `chat_template` of tokenizer_config.json) in `folder`. Raises ValueError."""
        config_path, template_path = folder / "tokenizer_config.json", folder / "chat_template.jinja"
        config: dict[str, Any] = json.loads(config_path.read_text("utf-8")) if config_path.is_file() else {}
        source = template_path.read_text("utf-8") if template_path.is_file() else config.get("chat_template")
        if not isinstance(source, str):
            raise ValueError(
                f"{template_path} is missing: make it with 'python -m build_scripts.tokenizer --out {folder}'"
            )
        specials = {}
        for name in _SPECIAL_NAMES:
            value = config.get(name)
            content = value.get("content") if isinstance(value, dict) else value
            if isinstance(content, str):
                specials[name] = content
        return cls(source, table, specials=specials)

    def encode(
        self,
        messages: Sequence[PromptMessage],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        effort: str = "",
        limit: int | None = None,
    ) -> list[int]:
        """Token ids of the conversation, up to where the assistant's answer begins. `tools` are OpenAI's functions, `effort` its
        `reasoning_effort`; "" as the model likes.

        Raises BadEffort where the template knows of none, BadMessages when the template refuses the conversation (many demand
        that user and assistant take turns), and TooManyTokens once a long one has more than `limit`, before all of it is read.
        """
        hidden: list[str] = []

        def hide(found: re.Match[str]) -> str:
            hidden.append(found[0])
            return f"{_OPEN}{len(hidden) - 1}{_CLOSE}"

        def hidden_in(value: Any) -> Any:
            if isinstance(value, str):
                return self._to_hide.sub(hide, value)
            if isinstance(value, dict):
                return {hidden_in(name): hidden_in(each) for name, each in value.items()}
            return [hidden_in(each) for each in value] if isinstance(value, list) else value

        try:
            text = self._template.render(
                messages=[hidden_in(self._shown(message)) for message in messages],
                add_generation_prompt=True,
                tools=hidden_in(list(tools)) or None,
                documents=None,
                **self._thinking(effort),
                **self._specials,
            )
        except TemplateError as error:
            raise BadMessages(f"the model's chat template refuses them: {error}") from error
        return self._ids(text, hidden, limit if len(text) > _LONG else None)

    def _thinking(self, effort: str) -> dict[str, Any]:
        """The variables that tell the template how much the model is to think."""
        if not effort:
            return {}
        if effort != "none" and not self._efforts:
            raise BadEffort("this model's chat template knows of none; leave it out")
        thinks = effort != "none"
        return {"reasoning_effort": effort, "enable_thinking": thinks, "thinking": thinks}

    def _shown(self, message: PromptMessage) -> dict[str, Any]:
        """As templates read it: the arguments of calls are objects there."""
        shown: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            shown["tool_calls"] = [
                {
                    "id": self._call_id(call["id"]),
                    "type": "function",
                    "function": {**call["function"], "arguments": _object(call["function"]["arguments"])},
                }
                for call in message.calls
            ]
        if message.role == "tool":
            shown["tool_call_id"] = self._call_id(message.call_id)
        return shown

    def _call_id(self, call_id: str) -> str:
        return (
            call_id[-9:].rjust(9, "0") if self._short_ids else call_id
        )  # Mistral's take nine characters, no more, no less

    def _ids(self, text: str, hidden: Sequence[str], limit: int | None) -> list[int]:
        ids: list[int] = []
        plain: list[str] = []
        at, eats_right = 0, False

        def write_plain(*, eats_left: bool = False) -> None:
            piece = "".join(plain)
            plain.clear()
            if eats_right:
                piece = piece.lstrip()
            if eats_left:
                piece = piece.rstrip()
            if piece:
                left = None if limit is None else max(0, limit - len(ids))
                ids.extend(self._table.encode(piece, inside=bool(ids), limit=left))

        for cut in self._cuts.finditer(text):
            plain.append(text[at : cut.start()])
            at = cut.end()
            if (number := cut["hidden"]) is not None:
                plain.append(hidden[int(number)])
                continue
            control = self._table.controls[cut[0]]
            write_plain(eats_left=control.eats_left)
            ids.append(control.id)
            eats_right = control.eats_right
        plain.append(text[at:])
        write_plain()
        return ids


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


class _Generation(Extension):
    """`{% generation %}` marks what a model is trained on; for a prompt it is nothing but its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment(now: Callable[[], datetime]) -> Environment:
    """Jinja as `transformers` sets it up for chat templates; sandboxed, since templates come with downloaded models."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda style: now().strftime(style)
    return environment
