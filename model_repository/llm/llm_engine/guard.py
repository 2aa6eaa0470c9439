"""An engine that crashes takes its Triton along, as TensorRT-LLM's own backend does.

Triton 2.51 stays "ready" when the process of a decoupled Python model has died: its running streams never end, its new
requests fail, and it does not start the process again (seen running). A server that is gone, however, is noticed by
everybody at once and started again by its worker.
"""

import contextlib
import subprocess
from pathlib import Path

SERVER = "tritonserver"
SCRIPT = 'read -r word; [ "$word" = dismissed ] || kill -9 "$0"'
"""Reading ends when this process has gone, however it went: the kernel closes its end of the pipe."""
GRACE_S = 2.0


class Guard:
    """A shell that outlives this process only to end `server`, a process id. Only one that is a Triton is guarded."""

    def __init__(self, server: int) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            if Path(f"/proc/{server}/comm").read_text().startswith(SERVER):
                self._shell = subprocess.Popen(["/bin/sh", "-c", SCRIPT, str(server)], stdin=subprocess.PIPE)

    def dismiss(self) -> None:
        """The model ends in good order."""
        if self._shell is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._shell.communicate(b"dismissed\n", timeout=GRACE_S)
        self._shell = None
