"""The prompt of one request: the conversation, and before its question as many passages as the budget allows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompt_builder.errors import TooLong
from prompt_builder.messages import PromptMessage, last_question, parse_messages, replaced
from prompt_builder.passages import PromptPassage, narrowings, numbered, parse_passages
from prompt_builder.template import ChatTemplate
from prompt_builder.tools import in_words, parse_tools
from prompt_builder.wording import Wording
from tokens import TooManyTokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """`used` holds the passages that are in the prompt, best first, each with its number there, `n`."""

    input_ids: list[int]
    used: list[dict[str, Any]]

    def used_json(self) -> str:
        return json.dumps(self.used, ensure_ascii=False)


class PromptBuilder:
    def __init__(self, template: ChatTemplate, wording: Wording | None = None) -> None:
        self._template = template
        self._wording = wording or Wording()

    def build(
        self,
        messages: str | bytes,
        passages: str | bytes,
        *,
        max_prompt_tokens: int,
        grounded: bool,
        tools: str | bytes = b"[]",
        effort: str = "",
    ) -> Prompt:
        """Read the JSON lists and make a prompt of at most `max_prompt_tokens` tokens.

        Where not all fits, the weakest passages first lose the neighbours of their hits, then they are dropped whole; the
        conversation is never cut. Raises BadMessages, BadPassages, BadTools, BadEffort, and TooLong when the conversation
        alone is over the budget.
        """
        conversation = parse_messages(messages)
        choices = narrowings(parse_passages(passages))
        functions = parse_tools(tools)

        def ids_with(choice: Sequence[PromptPassage]) -> list[int] | TooLong:
            asked = self._with_passages(conversation, choice, grounded=grounded)
            if not self._template.knows_tools:
                asked = in_words(asked, functions, self._wording.tools)
            try:
                ids = self._template.encode(asked, tools=functions, effort=effort, limit=max_prompt_tokens)
            except TooManyTokens as error:
                return TooLong(error.at_least, max_prompt_tokens)
            return ids if len(ids) <= max_prompt_tokens else TooLong(len(ids), max_prompt_tokens)

        # Most prompts fit as they are. Otherwise the first choice that fits is searched by halves: each trial encodes the
        # whole prompt, because tokens can form across any seam.
        ids = ids_with(choices[0])
        if not isinstance(ids, TooLong):
            return Prompt(ids, numbered(choices[0]))
        over, fits, too_long = 0, len(choices), ids
        kept: list[int] = []
        while fits - over > 1:
            at = (fits + over) // 2
            ids = ids_with(choices[at])
            if isinstance(ids, TooLong):
                over, too_long = at, ids
            else:
                fits, kept = at, ids
        if fits == len(choices):
            raise too_long
        return Prompt(kept, numbered(choices[fits]))

    def _with_passages(
        self, conversation: Sequence[PromptMessage], passages: Sequence[PromptPassage], *, grounded: bool
    ) -> Sequence[PromptMessage]:
        if not grounded and not passages:
            return conversation
        at = last_question(conversation)
        texts = [self._template.disarmed(passage.text) for passage in passages]
        question = self._wording.question(conversation[at].content, texts, grounded=grounded)
        asked = replaced(conversation, at, question)
        if grounded and not any(message.role == "system" for message in conversation):
            return [PromptMessage("system", self._wording.system), *asked]
        return asked
