"""From messages and passages to the ids of a prompt that fits its budget."""

from prompt_builder.builder import Prompt, PromptBuilder
from prompt_builder.errors import BadMessages, BadPassages, BadTools, PromptError, TooLong
from prompt_builder.template import ChatTemplate
from prompt_builder.wording import Wording

__all__ = [
    "BadMessages",
    "BadPassages",
    "BadTools",
    "ChatTemplate",
    "Prompt",
    "PromptBuilder",
    "PromptError",
    "TooLong",
    "Wording",
]
