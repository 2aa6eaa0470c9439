"""A stand-in for TensorRT-LLM's Python package: its LLM API as documented, over an executor that only counts.

Written from https://nvidia.github.io/TensorRT-LLM/llm-api/reference.html (LLM, SamplingParams, KvCacheConfig, RequestOutput,
CompletionOutput, get_stats_async) for 1.2. The next token is the last one plus one, so that tests can tell what must come; after
256 comes 2, with which a model would end.
What the real one refuses is refused here: unknown arguments, a missing end_id where there is no tokenizer, prompts that do
not fit, async iteration of a result that was made outside an event loop.
"""

from .llmapi import LLM, GuidedDecodingParams, KvCacheConfig, RequestOutput, SamplingParams

__all__ = ["LLM", "GuidedDecodingParams", "KvCacheConfig", "RequestOutput", "SamplingParams", "__version__"]

__version__ = "1.2.1"
