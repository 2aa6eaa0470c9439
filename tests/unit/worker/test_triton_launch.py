"""How Triton is started: where it is found, with which flags, in which environment, and what is missing."""

from pathlib import Path

import pytest

from worker import preflight, triton
from worker.settings import WorkerSettings, parse
from worker.triton import Installation, Wishes

WHEEL = Installation(
    Path("/site/pytriton/tritonserver/bin/tritonserver"),
    Path("/site/pytriton/tritonserver/backends"),
    Path("/site/pytriton/tritonserver/caches"),
    libraries=(Path("/site/nvidia_pytriton.libs"), Path("/python/lib")),
    stub=Path("/site/stub"),
)


def settings(**changes: object) -> WorkerSettings:
    arguments = {"name": "triton-1", "http_port": 8111, "model_repository": "/models", "home": "/home/var", **changes}
    return parse([f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()], {})


def argv(
    *, flags: frozenset[str] = frozenset(), wishes: Wishes | None = None, gpu: bool = False, **changes: object
) -> list[str]:
    return triton.arguments(
        settings(**changes),
        WHEEL,
        backends=Path("/backends"),
        flags=flags,
        wishes=wishes or Wishes(),
        gpu=gpu,
        cores=2,
        key="secret",
    )


def test_everything_binds_loopback_and_the_ports_follow_the_first() -> None:
    line = argv(flags=frozenset({"--metrics-address"}))
    for expected in ("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"):
        assert expected in line
    for expected in ("--http-port=8111", "--grpc-port=8112", "--metrics-port=8113"):
        assert expected in line


def test_dangerous_apis_are_closed_on_both_transports() -> None:
    line = argv()
    for api in ("shared-memory", "model-repository", "trace", "logging"):
        assert sum(api in argument and "=secret" in argument for argument in line) == 2
    assert "--model-control-mode=none" in line
    assert "--allow-sagemaker=false" in line


def test_flags_of_newer_servers_only_where_they_are_known() -> None:
    assert not any(argument.startswith("--http-max-input-size") for argument in argv())
    assert any(a.startswith("--http-max-input-size=") for a in argv(flags=frozenset({"--http-max-input-size"})))


def test_flavour_and_response_cache_are_asked_for() -> None:
    assert "--model-config-name=simulated" in argv(flavour="simulated")
    assert not any(argument.startswith("--model-config-name") for argument in argv())
    assert any(
        argument.startswith("--cache-config=local,size=") for argument in argv(wishes=Wishes(response_cache=True))
    )


def test_two_instances_and_two_fleets_share_no_memory() -> None:
    homes = (Path("/x"), Path("/y"))
    prefixes = {triton.shared_memory_prefix(home, name) for name in ("triton-1", "triton-10") for home in homes}
    assert len(prefixes) == 4
    assert not any(a.startswith(b) for a in prefixes for b in prefixes if a != b)
    assert sum(prefix.startswith(triton.shared_memory_prefix(Path("/x"))) for prefix in prefixes) == 2


def test_the_digest_ignores_the_random_key_only() -> None:
    assert triton.digest(["a", "--x=ragfleet-admin=1"]) == triton.digest(["a", "--x=ragfleet-admin=2"])
    assert triton.digest(argv()) != triton.digest(argv(flavour="simulated"))


def test_the_stub_finds_this_interpreter() -> None:
    env = triton.environment(
        settings(), WHEEL, {"PATH": "/bin", "LD_LIBRARY_PATH": "/mine"}, cores=2, site=Path("/site")
    )
    assert env["LD_LIBRARY_PATH"] == "/site/nvidia_pytriton.libs:/python/lib:/mine"
    assert env["PYTHONPATH"].startswith("/site:")
    assert env["RAGFLEET_INSTANCE"] == "triton-1"
    assert env["PATH"].endswith(":/bin")


def test_the_container_needs_no_library_path() -> None:
    container = Installation(Path("/opt/t/bin/tritonserver"), Path("/opt/t/backends"), Path("/opt/t/caches"))
    plain = triton.environment(settings(), container, {}, cores=2)
    assert "LD_LIBRARY_PATH" not in plain
    assert plain["TOKENIZERS_PARALLELISM"] == "false"
    assert triton.environment(settings(), container, {}, cores=2, gpu=True)["TOKENIZERS_PARALLELISM"] == "true"
    assert triton.prepare_backends(container, Path("/nowhere")) == Path("/opt/t/backends")


def test_a_server_on_path_wins(tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "tritonserver"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    found = triton.find(path=str(binary.parent))
    assert found is not None
    assert found.binary == binary
    assert found.backends == tmp_path / "backends"


def test_backend_folder_is_linked_once_and_again(tmp_path: Path) -> None:
    backends, stub = tmp_path / "wheel" / "backends", tmp_path / "wheel" / "stubs" / "triton_python_backend_stub"
    (backends / "python").mkdir(parents=True)
    (backends / "python" / "libtriton_python.so").write_text("library")
    stub.parent.mkdir()
    stub.write_text("stub")
    wheel = Installation(Path("t"), backends, tmp_path, libraries=(tmp_path,), stub=stub)
    for _ in range(2):
        folder = triton.prepare_backends(wheel, tmp_path / "home") / "python"
        assert sorted(path.name for path in folder.iterdir()) == ["libtriton_python.so", "triton_python_backend_stub"]
        assert (folder / "triton_python_backend_stub").read_text() == "stub"


@pytest.mark.parametrize("text", ["response_cache { enable: true }", "response_cache: {\n  enable : True\n}"])
def test_sees_who_wants_the_response_cache(tmp_path: Path, text: str) -> None:
    model = tmp_path / "embedding"
    model.mkdir()
    (model / "config.pbtxt").write_text('backend: "python"\n')
    assert triton.wishes(tmp_path, "") == Wishes()
    (model / "config.pbtxt").write_text(f'backend: "python"\n{text}\n')
    assert triton.wishes(tmp_path, "").response_cache


def test_tensorrt_wants_complete_configurations_in_its_flavour_only(tmp_path: Path) -> None:
    (tmp_path / "llm" / "configs").mkdir(parents=True)
    (tmp_path / "llm" / "config.pbtxt").write_text('backend: "python"\n')
    (tmp_path / "llm" / "configs" / "tensorrtllm.pbtxt").write_text('name: "llm"\nbackend: "tensorrtllm"\n')
    assert not triton.wishes(tmp_path, "").complete_configs
    wanted = triton.wishes(tmp_path, "tensorrtllm")
    assert wanted.complete_configs
    assert "--disable-auto-complete-config" in argv(wishes=wanted)


def test_preflight_names_what_is_missing_and_the_remedy() -> None:
    found = preflight.check_server(WHEEL, libpython=lambda: None, version=lambda _: "2.1.0")
    text = "\n".join(map(str, found))
    assert "no stub" in text
    assert "shared libpython" in text
    assert "pip install 'numpy<2'" in text
    assert "pip install 'ragfleet[embedded]'" in str(preflight.check_server(None)[0])


@pytest.mark.parametrize("letter", list(" \t\n\"'\\$&;|<>()*?[]{}`!#äø中😀"))
def test_a_path_on_which_triton_fails_is_refused_before_it_does(letter: str) -> None:
    (problem,) = preflight.check_paths(
        Path("/srv/plain"), Path(f"/srv/my{letter}models"), Path(f"/srv/my{letter}models")
    )
    assert repr(letter) in str(problem)
    assert "RAGFLEET_HOME" in str(problem)


def test_long_and_odd_paths_of_ascii_are_fine() -> None:
    assert not preflight.check_paths(Path("/srv/v1.0+b@x,y=z:w~/%20_^-"), Path("/" + "x" * 250 + "/y"))


def test_preflight_offers_the_flavours_there_are(tmp_path: Path) -> None:
    assert "--model-repository" in str(preflight.check_repository(tmp_path, "")[0])
    (tmp_path / "llm" / "configs").mkdir(parents=True)
    (tmp_path / "llm" / "config.pbtxt").touch()
    (tmp_path / "llm" / "configs" / "simulated.pbtxt").touch()
    assert "Choose one of: simulated" in str(preflight.check_repository(tmp_path, "fast")[0])
    assert not preflight.check_repository(tmp_path, "simulated")
    assert not preflight.check_repository(tmp_path, "")
