"""LangChain's own standard tests: of chat models, over chat completions and over responses, and of embeddings."""

import os
from typing import Any

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests


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


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[OpenAIEmbeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["RAGFLEET_EMBEDDING_MODEL"],
            "base_url": os.environ["RAGFLEET_URL"],
            "api_key": os.environ["RAGFLEET_KEY"],
            "check_embedding_ctx_length": False,  # or it sends ids of OpenAI's own tokenizer in place of texts
            "timeout": 120,
            "max_retries": 0,
        }


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    embeddings_class = TestEmbeddings.embeddings_class
    embedding_model_params = TestEmbeddings.embedding_model_params
