"""The tokenizer that build_scripts takes out of a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from tokenizers import Tokenizer, pre_tokenizers

from build_scripts.tokenizer import PreparationFailed, main, prepare
from tokens import TokenTable

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def write_gguf(path: Path, kind: str, tokens: list[tuple[str, int, float]], **fields: Any) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_tokenizer_model(kind)
    writer.add_token_list([name for name, _, _ in tokens])
    writer.add_token_types([token_type for _, token_type, _ in tokens])
    writer.add_token_scores([score for _, _, score in tokens])
    writer.add_unk_token_id(0)
    if "pre" in fields:
        writer.add_tokenizer_pre(fields["pre"])
        writer.add_token_merges(fields["merges"])
    if "eos" in fields:
        writer.add_eos_token_id(fields["eos"])
    if fields.get("template", True):
        writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def byte_level_gguf(path: Path, pre: str = "smollm", **fields: Any) -> Path:
    alphabet = [(name, NORMAL, 0.0) for name in sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = [
        ("<|im_end|>", CONTROL, 0.0),
        ("<tool>", USER_DEFINED, 0.0),
        *alphabet,
        ("12", NORMAL, 0.0),
        ("Ġa", NORMAL, 0.0),
    ]
    return write_gguf(path, "gpt2", tokens, pre=pre, merges=["1 2", "Ġ a"], eos=0, **fields)


def test_smollm_splits_digits_and_knows_its_end(tmp_path: Path) -> None:
    assert prepare(tmp_path / "out", byte_level_gguf(tmp_path / "m.gguf"))

    table = TokenTable.load(tmp_path / "out")
    one, two = table.encode("1")[0], table.encode("2")[0]
    assert table.encode("12") == [one, two]
    assert table.decode(table.encode(" a 12 é😀")) == " a 12 é😀"
    assert table.end_ids == {0}
    assert not table.controls["<tool>"].special
    assert (tmp_path / "out" / "chat_template.jinja").read_text().startswith("{% for m")
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["model_max_length"] == 2048


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("gpt-2", "it's 2024!", ["it", "'s", "Ġ2024", "!"]),
        ("smollm", "a 123", ["a", "Ġ", "1", "2", "3"]),
        ("qwen2", "IT'S 123\n\nok", ["IT", "'S", "Ġ", "1", "2", "3", "ĊĊ", "ok"]),
        ("llama-bpe", "x 1234567", ["x", "Ġ", "123", "456", "7"]),
    ],
)
def test_text_is_cut_as_the_model_was_trained(tmp_path: Path, pre: str, text: str, pieces: list[str]) -> None:
    prepare(tmp_path / "out", byte_level_gguf(tmp_path / "m.gguf", pre))
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] == pieces


def test_sentence_piece_merges_by_score(tmp_path: Path) -> None:
    tokens = [("<unk>", UNKNOWN, 0.0), ("<s>", CONTROL, 0.0), ("</s>", CONTROL, 0.0)]
    tokens += [(f"<0x{byte:02X}>", BYTE, 0.0) for byte in range(256)]
    tokens += [("ab", NORMAL, -1.0), ("bc", NORMAL, -2.0), ("▁a", NORMAL, -3.0)]
    tokens += [(letter, NORMAL, -10.0) for letter in "▁abc"]
    prepare(tmp_path / "out", write_gguf(tmp_path / "m.gguf", "llama", tokens, eos=2))

    table = TokenTable.load(tmp_path / "out")
    names = {name: number for number, (name, _, _) in enumerate(tokens)}
    assert table.encode("abc") == [names["▁"], names["ab"], names["c"]]
    assert table.decode(table.encode("a é")) == "a é"
    assert table.end_ids == {2}


def test_a_second_run_does_nothing_until_the_model_changes(tmp_path: Path) -> None:
    model, out = byte_level_gguf(tmp_path / "m.gguf"), tmp_path / "out"
    assert prepare(out, model)
    before = (out / "tokenizer.json").stat().st_mtime_ns

    assert not prepare(out, model)
    assert (out / "tokenizer.json").stat().st_mtime_ns == before

    byte_level_gguf(model, "qwen2")
    assert prepare(out, model)
    (out / "chat_template.jinja").unlink()
    assert prepare(out, model)
    assert not list(out.glob("*.partial"))


def test_what_cannot_be_made_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"not a model" * 100)
    for source, message in (
        (tmp_path / "absent.gguf", "is not a file"),
        (garbage, "not a readable GGUF"),
        (byte_level_gguf(tmp_path / "odd.gguf", "tekken"), "pre-tokenizer 'tekken' is unknown"),
        (byte_level_gguf(tmp_path / "base.gguf", template=False), "no chat template"),
    ):
        with pytest.raises(PreparationFailed, match=message):
            prepare(tmp_path / "out", source)
    assert main(["--out", str(tmp_path / "out"), "--gguf", str(garbage)]) == 1
    assert "error:" in capsys.readouterr().err
    assert main(["--out", str(tmp_path / "out"), "--gguf", str(byte_level_gguf(tmp_path / "m.gguf"))]) == 0
