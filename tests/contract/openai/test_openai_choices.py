"""Several choices, log probabilities and biased tokens, as the unmodified `openai` client reads them."""

from collections import Counter

from tests.support.openai_service import Service

USER = [{"role": "user", "content": "Say hello."}]


async def test_choices(service: Service) -> None:
    completion = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=4, n=3, seed=5, temperature=1
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert completion.usage is not None
    assert completion.usage.completion_tokens <= 12
    alone = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=4, seed=5, temperature=1
    )
    if service.model == "tiny":  # beside others llama.cpp's sums may round differently
        assert completion.choices[0].message.content == alone.choices[0].message.content


async def test_streamed_choices(service: Service) -> None:
    stream = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=4, n=2, stream=True, stream_options={"include_usage": True}
    )
    finished: Counter[int] = Counter()
    chunks = [chunk async for chunk in stream]
    for chunk in chunks:
        for choice in chunk.choices:
            finished[choice.index] += choice.finish_reason is not None
    assert finished == {0: 1, 1: 1}
    assert chunks[-1].usage is not None


async def test_streamed_choices_of_the_helper(service: Service) -> None:
    """The client's own accumulator puts interleaved choices together."""
    async with service.client.chat.completions.stream(
        model=service.model, messages=USER, max_tokens=4, n=2, logprobs=True, temperature=0
    ) as stream:
        async for _ in stream:
            pass
        completion = stream.current_completion_snapshot
    texts = [choice.message.content for choice in completion.choices]
    assert len(texts) == 2
    for choice in completion.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content


async def test_log_probs(service: Service) -> None:
    completion = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=4, logprobs=True, top_logprobs=2, temperature=0
    )
    (choice,) = completion.choices
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    assert content
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2
        assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob or service.model == "tiny"
    data = b"".join(bytes(token.bytes or []) for token in content)
    assert data.decode("utf-8", "replace").startswith(choice.message.content or "")


async def test_log_probs_of_a_completion(service: Service) -> None:
    completion = await service.client.completions.create(
        model=service.model, prompt="Once upon a time", max_tokens=4, logprobs=2, temperature=0
    )
    (choice,) = completion.choices
    assert choice.logprobs is not None
    tokens, offsets = choice.logprobs.tokens or [], choice.logprobs.text_offset or []
    assert len(tokens) == len(offsets) == len(choice.logprobs.token_logprobs or []) > 0
    assert "".join(tokens).startswith(choice.text) or "\ufffd" in choice.text or "bytes:" in "".join(tokens)


async def test_log_probs_of_a_response(service: Service) -> None:
    response = await service.client.responses.create(
        model=service.model,
        input="Say hello.",
        max_output_tokens=4,
        temperature=0,
        include=["message.output_text.logprobs"],
        top_logprobs=1,
    )
    text = response.output[-1].content[0]  # type: ignore[union-attr]
    assert text.type == "output_text"
    assert text.logprobs
    assert len(text.logprobs[0].top_logprobs) == 1


async def test_best_of_and_echo(service: Service) -> None:
    completion = await service.client.completions.create(
        model=service.model, prompt="Once upon", max_tokens=3, best_of=3, n=2, echo=True, temperature=1
    )
    assert [choice.text.startswith("Once upon") for choice in completion.choices] == [True, True]


async def test_a_bias_decides(service: Service) -> None:
    """On the fakes it is only sent."""
    asked = {"model": service.model, "prompt": "Once upon a time", "max_tokens": 3, "temperature": 0}
    biased = await service.client.completions.create(**asked, logit_bias={"99": 100})
    if service.model != "tiny":
        usual = await service.client.completions.create(**asked)
        assert biased.choices[0].text != usual.choices[0].text
        assert len(set(biased.choices[0].text.split())) <= 1
    assert biased.choices
