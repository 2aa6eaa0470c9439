"""A response as it begins: what was asked for, and nothing answered."""

import time
from typing import Any

from gateway.api.bookkeeping import TIER
from gateway.api.client_tools import OfferedTool
from gateway.api.file_search_schema import FileSearch
from gateway.api.response_output import (
    new_response_id,
)
from gateway.api.response_schemas import ResponsesRequest
from gateway.api.tool_schemas import ResponseFunction

Json = dict[str, Any]


def new_response(request: ResponsesRequest, *, store: bool) -> Json:
    """The response object before there is anything in it."""
    choice = request.tool_choice
    return {
        "id": new_response_id(),
        "object": "response",
        "created_at": int(time.time()),
        "status": "queued" if request.background else "in_progress",
        "completed_at": None,
        "background": request.background,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": {"effort": request.effort, "summary": None},
        "safety_identifier": request.safety_identifier,
        "service_tier": TIER,
        "store": store,
        "temperature": request.temperature,
        "text": {"format": _format(request), "verbosity": request.manner or "medium"},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_none=True),
        "tools": [_tool(each) for each in request.tools or ()],
        "top_logprobs": request.top_logprobs,
        "top_p": request.top_p,
        "truncation": request.truncation,
        "usage": None,
        "user": request.user,
        **({} if request.conversation_id is None else {"conversation": {"id": request.conversation_id}}),
    }


def _tool(tool: FileSearch | OfferedTool) -> Json:
    if not isinstance(tool, ResponseFunction):
        return tool.model_dump(exclude_none=True)
    return {"strict": True, "parameters": None, "description": None, **tool.model_dump(exclude_none=True)}


def _format(request: ResponsesRequest) -> Json:
    given = None if request.text is None else request.text.format
    return {"type": "text"} if given is None else given.model_dump(by_alias=True, exclude_none=True)
