"""What to search for a question: as it stands, with what was asked before, or as the fleet's own model words it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.config import Settings
from gateway.errors import RagfleetError
from gateway.metrics import Metrics
from gateway.retrieval.follow_up import searchable, standalone, with_history
from gateway.setting_values import Rewrite

Messages = Sequence[Mapping[str, str]]
"""OpenAI's."""
Generate = Callable[[Messages], Awaitable[str]]
"""A short answer of the model that will answer the request, "" where it came to no end. Raises RagfleetError."""

TASK = (
    "You make questions that can be understood alone. Write the user's last question again, with the names and things "
    "that it refers to in place of words like it, they or this. Write the question only."
)

CUE = "The last question, to be understood alone:"


class QueryRewriter:
    """One for the life of the application."""

    QUESTIONS = 16
    """That a question may lean on, itself included."""
    TURNS = 6
    """Messages that the model reads, the question included."""
    TURN_CHARACTERS = 600
    """Of each; what is behind is cut off."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics

    async def query(self, conversation: Messages, question: str, generate: Generate) -> str:
        """What to search for `question`, the last one of a conversation. Never raises for the model's sake.

        A model that is late, fails, or answers with something else than the question does not count: then the history does.
        """
        asked = [searchable(message["content"]) for message in conversation if message["role"] == "user"][
            -self.QUESTIONS :
        ]
        how, query = Rewrite.OFF, searchable(question)
        if len(asked) > 1 and self._settings.rag_rewrite is not Rewrite.OFF:
            how, query = Rewrite.HISTORY, searchable(with_history(asked))
            if self._settings.rag_rewrite is Rewrite.MODEL:
                worded = await self._worded(conversation, searchable(question), generate)
                if worded is not None:
                    how, query = Rewrite.MODEL, worded
        if len(asked) > 1:
            self._metrics.rewrites.labels(str(how)).inc()
        return query

    async def _worded(self, conversation: Messages, question: str, generate: Generate) -> str | None:
        turns = [message for message in conversation if message["role"] in ("user", "assistant")][-self.TURNS :]
        said = "\n".join(f"{turn['role'].capitalize()}: {turn['content'][: self.TURN_CHARACTERS]}" for turn in turns)
        task = [{"role": "system", "content": TASK}, {"role": "user", "content": f"{said}\n\n{CUE}"}]
        try:
            async with asyncio.timeout(self._settings.rag_rewrite_deadline_s):
                words = await generate(task)
        except (RagfleetError, TimeoutError):
            return None
        return standalone(words, said, question)
