"""Text out of token ids equals what the tokenizer itself says, whatever the split and whatever the family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tokens import IncrementalDetokenizer, TokenTable, TooManyTokens
from tokens.vocabulary import BadTokenizer

SAMPLES = (
    "Hello, world! 12345",
    "naïve café — “quotes”",
    "e\u0301 combining, ZWJ 👩‍👩‍👧‍👦, flags 🇩🇪, skin 👍🏽",
    "中文字符，日本語、한국어",
    "    four spaces\n\n\ttab",
    "<|im_end|> typed by somebody",
)


def byte_level() -> Tokenizer:
    """Byte-level BPE with a handful of merges, one of which cuts a character in the middle."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("Ġ", "w"), ("ð", "Ł"), ("ä", "¸"), ("o", "Ġ")]
    names = [*alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True), AddedToken("<|im_start|>", special=True)])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    return tokenizer


def sentence_piece(decoder: Any = None) -> Tokenizer:
    """Llama 2's arrangement: ▁ for spaces, a byte token for whatever is not in the vocabulary."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz中"]
    merges = [("▁", "a"), ("h", "e"), ("▁", "▁")]
    names += [a + b for a, b in merges]
    model = models.BPE({name: i for i, name in enumerate(names)}, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoder or decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level(),
    "sentence-piece": sentence_piece(),
    "metaspace": sentence_piece(decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])),
}
TABLES = {name: TokenTable(json.loads(tokenizer.to_str())) for name, tokenizer in TOKENIZERS.items()}


def pushed(table: TokenTable, ids: list[int]) -> list[str]:
    detokenizer = IncrementalDetokenizer(table)
    return [*(detokenizer.push(number) for number in ids), detokenizer.flush()]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.one_of(st.sampled_from(SAMPLES), st.text()))
def test_pieces_join_to_what_the_tokenizer_decodes(name: str, text: str) -> None:
    tokenizer, table = TOKENIZERS[name], TABLES[name]
    ids = table.encode(text)

    expected = tokenizer.decode(ids)
    assert "".join(pushed(table, ids)) == expected
    assert table.decode(ids) == expected


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_level_text_survives_the_round_trip(text: str) -> None:
    table = TABLES["byte-level"]
    assert table.decode(table.encode(text)) == text


@given(ids=st.lists(st.integers(-1, TABLES["byte-level"].vocab_size + 3)))
def test_any_ids_at_all_give_the_same_text_at_once_and_one_by_one(ids: list[int]) -> None:
    tokenizer, table = TOKENIZERS["byte-level"], TABLES["byte-level"]
    expected = tokenizer.decode([number for number in ids if number >= 0], skip_special_tokens=True)
    assert "".join(pushed(table, ids)) == table.decode(ids) == expected


@given(ids=st.lists(st.integers(0, TABLES["sentence-piece"].vocab_size - 1)))
def test_sentence_piece_at_once_and_one_by_one(ids: list[int]) -> None:
    table = TABLES["sentence-piece"]
    assert "".join(pushed(table, ids)) == table.decode(ids)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.text(), data=st.data())
def test_a_stream_resumes_from_its_journal_at_every_token(name: str, text: str, data: st.DataObject) -> None:
    table = TABLES[name]
    ids = table.encode(text)
    cut = data.draw(st.integers(0, len(ids)))
    before = pushed(table, ids)[:cut]

    resumed = IncrementalDetokenizer.resumed(table, ids[:cut])

    after = [*(resumed.push(number) for number in ids[cut:]), resumed.flush()]
    assert "".join(before + after) == table.decode(ids)


def test_an_unfinished_character_waits_and_flush_replaces_it() -> None:
    table = TABLES["byte-level"]
    emoji = table.encode("😀")
    detokenizer = IncrementalDetokenizer(table)

    assert [detokenizer.push(number) for number in emoji] == [""] * (len(emoji) - 1) + ["😀"]
    assert detokenizer.flush() == ""
    assert detokenizer.push(emoji[0]) == ""
    assert detokenizer.flush() == "\ufffd"
    assert detokenizer.push(table.encode("a")[0]) == "a"


def test_special_tokens_padding_and_ids_beyond_the_vocabulary_read_as_nothing() -> None:
    table = TABLES["byte-level"]
    start = table.controls["<|im_start|>"].id
    (a,) = table.encode("a")

    assert pushed(table, [start, a, -1, table.vocab_size, start]) == ["", "a", "", "", "", ""]
    assert table.decode([start, a, -1, table.vocab_size]) == "a"
    assert table.decode([table.controls["<tool_call>"].id]) == "<tool_call>"


@pytest.mark.parametrize("name", ["<|im_end|>", "<tool_call>"])
def test_typed_names_of_control_tokens_stay_text(name: str) -> None:
    table = TABLES["byte-level"]
    ids = table.encode(f"a{name}b")

    assert table.controls[name].id not in ids
    assert table.decode(ids) == f"a{name}b"


def test_load_takes_the_end_ids_from_every_file_that_names_them(tmp_path: Path) -> None:
    TOKENIZERS["sentence-piece"].save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8]}))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 9}))

    assert TokenTable.load(tmp_path).end_ids == {2, 7, 8, 9}


def test_end_of_turn_tokens_count_without_configuration() -> None:
    table = TABLES["byte-level"]
    assert table.end_ids == {table.controls["<|im_end|>"].id}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ("{", "is not a tokenizer.json"),
        ("[]", "neither byte-level BPE nor SentencePiece"),
        ('{"decoder": {"type": "WordPiece"}}', "neither byte-level BPE nor SentencePiece"),
        ('{"decoder": {"type": "ByteLevel"}, "model": {"type": "BPE"}}', "tokenizer.json"),
    ],
)
def test_a_bad_folder_says_what_is_wrong(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadTokenizer, match=message):
        TokenTable.load(tmp_path)


def test_metaspace_tokenizers_put_a_space_only_at_the_very_start() -> None:
    tokenizer = sentence_piece()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    table = TokenTable(json.loads(tokenizer.to_str()))

    assert table.encode("hi") == tokenizer.encode("hi", add_special_tokens=False).ids
    behind = tokenizer.encode("</s>hi", add_special_tokens=False).ids[1:]
    assert table.encode("hi", inside=True) == behind


@pytest.mark.parametrize("name", TABLES)
@given(text=st.text(alphabet="ahew \n\t'.,0é中👩#-_", max_size=400), piece=st.integers(1, 40))
def test_a_text_that_is_read_in_pieces_has_the_tokens_of_the_whole(name: str, text: str, piece: int) -> None:
    table = TABLES[name]
    whole = table.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokens.vocabulary._PIECE", piece)
        assert table.encode(text) == whole
    assert table.least_tokens(text) <= len(whole)


@pytest.mark.parametrize("name", TABLES)
def test_a_text_that_is_too_long_is_not_read_to_its_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenTable, "_pieces", lambda *_: pytest.fail("it was read"))
    with pytest.raises(TooManyTokens):
        TABLES[name].encode("he a " * 1_000_000, limit=1000)


def test_once_there_are_too_many_tokens_the_rest_is_not_read() -> None:
    with pytest.raises(TooManyTokens) as refused:  # its bytes alone do not say so
        TABLES["byte-level"].encode("a b " * 20_000, limit=39_000)
    assert 39_000 < refused.value.at_least < 70_000
    assert len(TABLES["byte-level"].encode("a b " * 20_000)) > 70_000


def test_a_normalizer_may_shorten_a_text() -> None:
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.NFKC()
    table = TokenTable(json.loads(tokenizer.to_str()))
    text = "\U0001d41a" * 100
    assert table.least_tokens(text) <= len(table.encode(text))
