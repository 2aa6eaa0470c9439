"""Documents that were made to be obeyed are only read: none changes a prompt outside its own place in the fence."""

from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from prompt_builder import ChatTemplate, Prompt, PromptBuilder
from tests.support.injections import INJECTIONS
from tests.unit.prompt.conftest import SMOLLM2
from tokens import TokenTable

LLAMA2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' }}{% elif message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] +"
    " '<end_of_turn>\n' }}{% endfor %}{{ '<start_of_turn>model\n' }}"
)
ALPACA = (
    "{% for message in messages %}{{ '### Instruction:\n' if message['role'] != 'assistant' else '### Response:\n' }}"
    "{{ message['content'] }}{{ '\n\n' }}{% endfor %}### Response:\n"
)
TEMPLATES = {"chatml": SMOLLM2, "llama2": LLAMA2, "llama3": LLAMA3, "gemma": GEMMA, "alpaca": ALPACA}
CONTROLS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<s>", "</s>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"),
)
HARMLESS = "The well is 31 m deep."


@pytest.fixture(scope="module")
def table() -> TokenTable:
    """Each byte is a token, and every family's control tokens are there."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(CONTROLS))
    tokenizer.add_tokens([AddedToken(name, special=False) for name in ("<tool_call>", "</tool_call>")])
    return TokenTable(json.loads(tokenizer.to_str()))


@pytest.fixture(scope="module", params=TEMPLATES)
def builder(request: pytest.FixtureRequest, table: TokenTable) -> PromptBuilder:
    source = TEMPLATES[request.param]
    return PromptBuilder(ChatTemplate(source, table, specials={"bos_token": "<s>", "eos_token": "</s>"}))


def build(builder: PromptBuilder, *texts: str) -> Prompt:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How deep?"}]
    passages = [{"file_id": "f", "text": text} for text in texts]
    return builder.build(json.dumps(messages), json.dumps(passages), max_prompt_tokens=10_000, grounded=True)


@pytest.mark.parametrize("attack", INJECTIONS)
def test_an_injected_document_stays_in_its_place(builder: PromptBuilder, table: TokenTable, attack: str) -> None:
    plain, attacked = build(builder, HARMLESS, HARMLESS).input_ids, build(builder, HARMLESS, attack).input_ids
    controls = {token.id for token in table.controls.values()}
    assert [i for i in attacked if i in controls] == [i for i in plain if i in controls], "it writes no control token"

    def parts(ids: list[int]) -> tuple[str, str, str]:
        before, fence, rest = "".join(_read(table, ids)).partition("<passages>\n")
        inside, end, behind = rest.partition("\n</passages>\n")
        assert fence
        assert end
        return before, inside, behind

    (before, harmless, behind), (first, inside, last) = parts(plain), parts(attacked)
    assert (first, last) == (before, behind), "what stands around the passages is ours alone"
    lines = inside.split("\n")
    assert [line[:4] for line in lines if not line.startswith("  ")] == ["[2] ", "[1] "]
    assert lines[-1] == harmless.split("\n")[-1]
    for marker in ("<passages>", "</passages>"):
        assert marker not in inside.lower()


@pytest.mark.parametrize("attack", INJECTIONS)
def test_none_of_the_templates_own_markers_comes_from_a_document(table: TokenTable, attack: str) -> None:
    """Also of those that are no control tokens, but plain words."""
    for source, markers in ((LLAMA2, ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")), (ALPACA, ("### Response:",))):
        made = PromptBuilder(ChatTemplate(source, table, specials={"bos_token": "<s>", "eos_token": "</s>"}))
        plain, attacked = (table.decode(build(made, text).input_ids) for text in (HARMLESS, attack))
        for marker in markers:
            assert attacked.count(marker) == plain.count(marker)


def test_a_passage_reads_as_it_did(builder: PromptBuilder, table: TokenTable) -> None:
    text = "Use a < b, List[INT], <b>bold</b>, ## Heading: and [1]."
    assert text in table.decode(build(builder, text).input_ids)


def _read(table: TokenTable, ids: list[int]) -> list[str]:
    """The text with the control tokens' names, to compare prompts with."""
    names = {token.id: f"\0{name}\0" for name, token in table.controls.items()}
    pieces: list[str] = []
    plain: list[int] = []
    for each in [*ids, -1]:
        if each in names or each == -1:
            pieces += [table.decode(plain), names.get(each, "")]
            plain = []
        else:
            plain.append(each)
    return pieces
