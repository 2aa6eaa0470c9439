"""The command `ragfleet`: an embedded fleet up and down, its knowledge, its questions, its state.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 something is missing on this machine, 4 the fleet is not running, 130 Ctrl-C.
"""

import sys
from collections.abc import Callable

import typer

from ragfleet.commands import (
    assistant,
    audit,
    autoscale,
    demo,
    evaluate,
    filters,
    fleet,
    keys,
    knowledge,
    machine,
    reconcile,
    reembed,
    rollout,
    settings,
    tenants,
    usage,
)
from ragfleet.console import EPILOG
from ragfleet.failures import run

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "setup": machine.setup,
    "doctor": machine.examine,
    "settings": settings.show_settings,
    "up": fleet.up,
    "down": fleet.down,
    "status": fleet.show_status,
    "scale": fleet.scale,
    "autoscale": autoscale.autoscale,
    "logs": fleet.logs,
    "ingest": knowledge.ingest,
    "ask": knowledge.ask,
    "eval": evaluate.evaluate,
    "reconcile": reconcile.reconcile,
    "reembed": reembed.reembed,
    "sign-filter": filters.sign_filter,
    "audit": audit.show_audit,
    "usage": usage.show_usage,
}
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "assistant": ("Models with a purpose: customer service, texts, code, data.", assistant.COMMANDS),
    "tenant": ("Who may ask, and how much.", tenants.COMMANDS),
    "key": ("The keys of tenants.", keys.COMMANDS),
    "rollout": ("A version or engine on part of the traffic, judged by what it does.", rollout.COMMANDS),
}


def application() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        help="An embedded fleet on one machine: Triton, Consul, Milvus Lite and the gateway.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name, command in COMMANDS.items():
        app.command(name, epilog=EPILOG)(command)
    for name, (purpose, commands) in GROUPS.items():
        group = typer.Typer(help=purpose, epilog=EPILOG, no_args_is_help=True)
        for verb, command in commands.items():
            group.command(verb, epilog=EPILOG)(command)
        app.add_typer(group, name=name)
    return app


def main() -> None:
    """The entry point of the console script."""
    command_line = application()
    sys.exit(run(lambda: command_line(standalone_mode=False)))


if __name__ == "__main__":
    main()
