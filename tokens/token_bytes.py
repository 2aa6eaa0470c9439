"""From a token's name in a vocabulary to its bytes, by the kind of tokenizer."""

import re

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the other 68 for the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def byte_level(token: str) -> bytes:
    """Byte-level BPE: a character for each byte."""
    try:
        return bytes([_ALPHABET[character] for character in token])
    except KeyError:  # not in the alphabet of bytes: some tokenizers add whole words to the vocabulary
        return token.encode()


def sentence_piece(token: str) -> bytes:
    """SentencePiece: `▁` is a space, `<0xNN>` a single byte."""
    single = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(single[1], 16)]) if single else token.replace("▁", " ").encode()
