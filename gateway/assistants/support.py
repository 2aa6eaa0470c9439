"""Customer service: answers from knowledge alone; what else it does, the rules of its profile decide (assistants/dialogue.py)."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from assistants.dialogue import Move, Reply, after_search, before_search
from gateway.assistants.job import AssistantJob, as_pieces
from gateway.serving.choices import Choices
from gateway.serving.tools import FunctionTool, ToolUse

HANDOVER = FunctionTool(
    name="handover",
    description="Calls a person.",
    parameters={
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("reason", "summary", "message")},
        "required": ["reason", "summary", "message"],
    },
)
"""reason: request, anger or unsupported. message: what the customer is told meanwhile."""


@asynccontextmanager
async def open_support(job: AssistantJob) -> AsyncIterator[Choices]:
    """See service.Open."""
    job.refuse_options()
    messages, rules = job.request.messages, job.profile.support
    reply = before_search(messages, rules)
    if reply is None:
        async with job.generate(job.profiled(), job.tenant) as choices:
            grounding = choices.answers[0].grounding
            known = grounding is not None and not grounding.unavailable
            found = [] if grounding is None else [f"{each.filename}\n{each.text}" for each in grounding.passages]
            reply = after_search(messages, rules, found) if known else None
            if reply is None:
                yield choices
                return
    async with _said(job, reply) as choices:
        yield choices


def _said(job: AssistantJob, reply: Reply) -> AbstractAsyncContextManager[Choices]:
    """In words; a person is called by a call of `handover`."""
    if reply.move is not Move.HANDOVER or not reply.reason:
        return job.say(as_pieces(reply.text))
    arguments = {"reason": reply.reason, "summary": reply.summary, "message": reply.text}
    call = json.dumps({"name": HANDOVER.name, "arguments": arguments}, ensure_ascii=False)
    return job.say(as_pieces(call), ToolUse(functions=(HANDOVER,), required=True))
