"""The command `ragfleet`, also as `python -m ragfleet`."""

import sys

MISSING = 3
INTERRUPTED = 130
OURS = frozenset({"build_scripts", "gateway", "ragfleet", "tokens", "worker"})


def main() -> None:
    """Runs the command line; says what to install where this installation lacks it."""
    try:
        from ragfleet.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        sys.stderr.write(
            f"This installation of Ragfleet has no module '{error.name}'. For a whole fleet on one machine, run: "
            "pip install 'ragfleet[embedded]'. For the commands alone, run: pip install 'ragfleet[cli]'.\n"
        )
        sys.exit(MISSING)
    except KeyboardInterrupt:  # while it loads
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
