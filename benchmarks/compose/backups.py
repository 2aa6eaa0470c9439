"""Back up each part that holds something, lose it, restore it: by the commands of docs/production.md."""

import subprocess

from benchmarks.compose.engine import Engine
from benchmarks.compose.images import BASE
from benchmarks.compose.knowledge import Knowledge
from benchmarks.compose.stack import Stack
from benchmarks.compose.steps import StepError, Steps

SECONDS = 300.0
KEY = "backup/proof"
SNAPSHOT, RESTORED = "/consul/data/saved.snap", "/consul/data/restored.snap"
"""In the container of a server."""


class Backups:
    """Files of the back-ups lie in the engine's folder."""

    def __init__(self, engine: Engine, stack: Stack, knowledge: Knowledge, steps: Steps) -> None:
        self._engine = engine
        self._stack = stack
        self._knowledge = knowledge
        self._steps = steps
        self._folder = engine.folder / "backup"
        self._folder.mkdir(exist_ok=True)

    def consul(self) -> None:
        """A snapshot, with a key in it that is deleted and comes back."""
        with self._steps.step("Consul: snapshot saved and restored", SECONDS) as row:
            self._consul("kv", "put", KEY, "kept")
            self._consul("snapshot", "save", SNAPSHOT)
            self._stack.compose("cp", f"consul-1:{SNAPSHOT}", str(self._folder / "consul.snap"), timeout=60)
            self._consul("kv", "delete", KEY)
            self._stack.compose("cp", str(self._folder / "consul.snap"), f"consul-1:{RESTORED}", timeout=60)
            self._consul("snapshot", "restore", RESTORED)
            if (kept := self._consul("kv", "get", KEY).strip()) != "kept":
                raise StepError(f"the key is {kept!r}")
            self._consul("kv", "delete", KEY)
            seconds = self._stack.wait(self._stack.lacks, "whole again", 120)
            row.note = f"a deleted key is back; whole after {seconds:.1f} s"

    def knowledge(self) -> None:
        """PostgreSQL, objects and Milvus, all lost at once, from the dump, the copy and nothing."""
        stack = self._stack
        with self._steps.step("PostgreSQL dumped, objects copied", SECONDS) as row:
            self._dump()
            self._copy_out()
            sizes = {each.name: each.stat().st_size for each in self._folder.iterdir()}
            row.note = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sorted(sizes.items()))
        with self._steps.step("PostgreSQL, objects and Milvus lost with their volumes", SECONDS):
            lost = ("gateway-1", "gateway-2", "postgres", "milvus")
            stack.compose("rm", "--stop", "--force", *lost, timeout=180)
            names = [f"ragfleet_{each}" for each in ("postgres", "objects", "milvus")]
            self._engine.docker("volume", "rm", *names, timeout=60)
        with self._steps.step("objects and PostgreSQL restored, gateways started", 600) as row:
            stack.up("postgres", "milvus")
            stack.compose(
                "create", "--no-build", "gateway-1", "gateway-2", timeout=120
            )  # with them the volume of the objects
            self._copy_in()
            self._restore()
            stack.up("gateway-1", "gateway-2", "load-balancer")
            seconds = stack.wait(stack.lacks, "whole again", 180)
            if differs := self._knowledge.content_differs():
                raise StepError("; ".join(differs))
            row.note = (
                f"{len(self._knowledge.files)} files come back as they were uploaded; whole after {seconds:.1f} s"
            )
        with self._steps.step("Milvus filled again from SQL", 600) as row:
            said = stack.compose("run", "--rm", "--no-deps", "ragfleet", "reconcile", "--repair", timeout=300)
            seconds = stack.wait(
                lambda: self._knowledge.unfinished() or self._knowledge.not_found(), "found again", 300
            )
            last = said.strip().rpartition("\n")[2]
            row.note = f"found again {seconds:.1f} s after `reconcile --repair`: {last}"

    def _consul(self, *words: str) -> str:
        token = f"CONSUL_HTTP_TOKEN={self._stack.secret('consul_management_token')}"
        return self._stack.compose("exec", "-T", "-e", token, "consul-1", "consul", *words, timeout=60)

    def _dump(self) -> None:
        argv = ("exec", "-T", "postgres", "pg_dump", "-U", "ragfleet", "--format=custom", "ragfleet")
        self._streamed(argv, to="ragfleet.dump")

    def _restore(self) -> None:
        argv = ["exec", "-T", "postgres", "pg_restore", "-U", "ragfleet", "--clean", "--if-exists", "--exit-on-error"]
        self._streamed((*argv, "--single-transaction", "--dbname=ragfleet"), of="ragfleet.dump")

    def _copy_out(self) -> None:
        self._tar("-C", "/objects", "-cf", "/backup/objects.tar", ".")

    def _copy_in(self) -> None:
        self._tar("-C", "/objects", "-xf", "/backup/objects.tar")

    def _tar(self, *words: str) -> None:
        mounts = ("-v", "ragfleet_objects:/objects", "-v", f"{self._folder}:/backup")
        self._engine.docker("run", "--rm", "--network", "none", *mounts, BASE, "tar", *words, timeout=180)

    def _streamed(self, words: tuple[str, ...], *, to: str = "", of: str = "") -> None:
        """`docker compose WORDS` with a file as its output or its input."""
        files = ("-f", str(self._stack.folder / "docker/compose.yaml"), "-f", str(self._stack.folder / "override.yaml"))
        with (self._folder / (to or of)).open("wb" if to else "rb") as file:
            done = subprocess.run(
                ["docker", "compose", *files, *words],
                env=self._stack.env,
                stdin=subprocess.DEVNULL if to else file,
                stdout=file if to else subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=180,
                check=False,
            )
        if done.returncode:
            raise StepError(f"{' '.join(words[2:5])}: {done.stderr.decode(errors='replace')[-400:]}")
