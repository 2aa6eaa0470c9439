"""LangChain's own standard tests of chat models, over chat completions and over responses."""

import os
from typing import Any

from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChat(ChatModelIntegrationTests):
    """Nothing is declared absent but what the model cannot read: images, audio and PDF, which is the suite's default."""

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["RAGFLEET_MODEL"],
            "base_url": os.environ["RAGFLEET_URL"],
            "api_key": os.environ["RAGFLEET_KEY"],
            "temperature": 0,
            "max_tokens": 256,
            "timeout": 120,
            "max_retries": 0,
            "stream_usage": True,
        }


class TestResponses(TestChat):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}
