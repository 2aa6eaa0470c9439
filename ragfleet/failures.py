"""What ends a command without having been foreseen in it: wrong usage, what the machine refuses, Ctrl-C, a closed output."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable

import typer
from typer import rich_utils
from typer.exceptions import TyperException

from ragfleet.console import Exit, complain, print_error

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""
_REMEDIES = {
    errno.ENOSPC: "The disk is full: make room there, or name another folder",
    errno.EDQUOT: "The quota is used up: make room there, or name another folder",
    errno.EROFS: "Nothing can be written there: name another folder",
    errno.EACCES: "This user may not do that: be the one whose it is, or name another folder",
    errno.EPERM: "This user may not do that: be the one who has started the fleet",
    errno.ENOTDIR: "A file stands where a folder is needed: move it away, or name another folder",
    errno.EEXIST: "A file stands where a folder is needed: move it away, or name another folder",
    errno.EISDIR: "A folder stands where a file is needed: move it away, or name another folder",
    errno.ENAMETOOLONG: "The path is too long: name another folder",
    errno.ELOOP: "A link leads to itself: name another folder",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n 65536)",
    errno.ENOMEM: "There is no memory left: end something else",
    errno.EAGAIN: "No more processes can be started: end something else, or raise the limit (ulimit -u)",
}
_HOME = "RAGFLEET_HOME says where the fleet's state lies, RAGFLEET_CACHE where its downloads do."


def run(command: Callable[[], object]) -> int:
    """Calls a command line that is not in stand-alone mode; its exit status. Whatever ends it is said in a sentence."""
    for stream in (sys.stdout, sys.stderr):
        # A locale without "→" is no reason to say nothing.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        status = _called(command)
        sys.stdout.flush()
    except OSError as error:  # of the output itself
        return _unwritable(error)
    return status


def in_words(error: OSError) -> str:
    """What the machine has refused, and what helps."""
    what = error.strerror or str(error) or type(error).__name__
    said = f"{error.filename}: {what}." if error.filename else f"{what}."
    remedy = _REMEDIES.get(error.errno or 0, "")
    if not remedy:
        return said
    return f"{said} {remedy}. {_HOME}" if remedy.endswith("another folder") else f"{said} {remedy}."


def _called(command: Callable[[], object]) -> int:
    try:
        status = command()
    except TyperException as error:
        rich_utils.rich_format_error(error)  # type: ignore[arg-type]
        print_error(error.format_message(), Exit.USAGE)
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        complain("Interrupted.")
        return INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        complain(in_words(error))
        print_error(in_words(error), Exit.FAILED)
        return int(Exit.FAILED)
    return status if isinstance(status, int) else int(Exit.DONE)


def _unwritable(error: OSError) -> int:
    """Nobody reads any more (`| head -1`), or the file that it goes to is full; then the interpreter need not try again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    if error.errno != errno.EPIPE:
        with contextlib.suppress(OSError):
            complain(f"The output cannot be written: {error.strerror}.")
    return int(Exit.FAILED)
