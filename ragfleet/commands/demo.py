"""`ragfleet demo`: the whole way once, from nothing running to a cited answer."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from assistants.profile import shipped
from ragfleet.commands.fleet import bring_up
from ragfleet.commands.knowledge import bring_in, put
from ragfleet.commands.machine import prepare_machine
from ragfleet.console import DEFAULT_STORE, fail, output
from ragfleet.fleet_spec import FleetSpec
from ragfleet.paths import data_folder, home_from_environment

DOCUMENTS = data_folder("examples") / "handbook" / "documents"
QUESTION = "What is the factory reset code of the Fernwright 200?"
SOURCE = "support-reset-fernwright-200.md"
"""The one document that answers it."""


def demo(
    *,
    instances: Annotated[int, typer.Option(min=1, help="How many Tritons.")] = 2,
    port_base: Annotated[int | None, typer.Option(min=1024, max=64000, help="Move every port.")] = None,
) -> None:
    """Start the fleet, ingest the example handbook, ask it a question, and leave the fleet up."""
    home, out = home_from_environment(), output()
    prepare_machine()
    seen = bring_up(home, FleetSpec(instances=instances, port_base=port_base))
    out.print(f"\nIngesting {DOCUMENTS} …")
    bring_in(seen, [DOCUMENTS], DEFAULT_STORE)
    out.print(f"\n[bold]{escape(QUESTION)}[/bold]\n")
    answer = put(seen, QUESTION, store=DEFAULT_STORE)
    if not any(source["filename"] == SOURCE for source in answer.sources):
        raise fail(f"The demo went wrong: {SOURCE} is not among the sources. See: ragfleet logs gateway")
    program = Path(sys.executable).with_name("ragfleet")
    where = "" if shutil.which("ragfleet") else f"\n(The command is {program}.)"
    assistants = "\n".join(
        f"  ragfleet assistant try {name:<8}  {escape(profile.description)}" for name, profile in shipped().items()
    )
    out.print(
        f"""
[bold]The fleet stays up.[/bold]
  API          {seen.gateway_url}/v1   (OpenAI's; its documentation: {seen.gateway_url}/docs)
  API key      {seen.api_key}
  Consul's UI  {seen.consul_url}/ui

Try next
  ragfleet ask "How often should a Dewpoint Pro be calibrated?"   another question
  ragfleet ask --no-rag "What is a greenhouse?"                   the bare model
  ragfleet ingest --store mine PATH                               documents of your own
  ragfleet ingest --code REPO                                     source code, for the assistant `code`
  ragfleet status                                                 then kill -9 a Triton, and look again
  ragfleet down                                                   stop everything{where}

Assistants: models with a purpose, for any OpenAI client ("model": "assistant:NAME")
{assistants}"""
    )
