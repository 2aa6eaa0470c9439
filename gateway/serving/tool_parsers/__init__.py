"""How models write calls of functions, a family a module."""

from types import MappingProxyType

from gateway.serving.tool_parsers.bare_json import BareJsonParser
from gateway.serving.tool_parsers.hermes import HermesParser
from gateway.serving.tool_parsers.mistral import MistralParser
from gateway.serving.tool_parsers.parser import ToolCallParser
from gateway.setting_values import ToolFormat

__all__ = ["PARSERS", "BareJsonParser", "ToolCallParser", "guess"]

PARSERS: MappingProxyType[ToolFormat, type[ToolCallParser]] = MappingProxyType(
    {
        ToolFormat.HERMES: HermesParser,
        ToolFormat.LLAMA3_JSON: BareJsonParser,
        ToolFormat.MISTRAL: MistralParser,
        ToolFormat.JSON: BareJsonParser,
    }
)


def guess(template: str) -> ToolFormat:
    """By what a chat template (Jinja) writes itself."""
    if "tools" not in template:
        return ToolFormat.JSON
    if "[TOOL_CALLS]" in template:
        return ToolFormat.MISTRAL
    if "<tool_call>" in template:
        return ToolFormat.HERMES
    if "<|python_tag|>" in template or '"parameters": dictionary' in template:
        return ToolFormat.LLAMA3_JSON
    return ToolFormat.JSON
