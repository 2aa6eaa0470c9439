"""Which turns of a conversation may be left out where all of them do not fit into the model's context."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.serving.generation_request import GenerationRequest

_ABOUT_ALL = ("system", "developer")


def truncations(request: GenerationRequest) -> Sequence[GenerationRequest]:
    """The request as it is, and without its oldest turns: one more in each, down to the last. What its instructions say stays.

    A turn begins with a message of the user, so that what answers a call of a tool never stands without the call.
    """
    messages = request.messages
    begin = next((at for at, each in enumerate(messages) if each["role"] not in _ABOUT_ALL), len(messages))
    turns = [at for at in range(begin + 1, len(messages)) if messages[at]["role"] == "user"]
    shorter = [replace(request, messages=[*messages[:begin], *messages[at:]]) for at in turns]
    return [request, *shorter]
