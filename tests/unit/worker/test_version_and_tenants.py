"""What tells one version of an instance from another, and who may use it: the worker's side of a canary."""

from gateway.fleet.consul_health import read_entries
from worker.meta import describe
from worker.settings import parse


def entry(*arguments: str) -> dict[str, object]:
    """What Consul would say of a worker with these arguments."""
    settings = parse(["--name=canary", "--http-port=8101", *arguments], {"RAGFLEET_VERSION": "1.2.3-rc1"})
    meta = describe(settings, {"backend": "python"}, {}, None)
    service = {"ID": "canary", "Address": "10.0.0.1", "Port": 8101, "Meta": meta}
    return {"Node": {"Node": "n", "Address": "10.0.0.1"}, "Service": service, "Checks": []}


def test_the_tag_of_the_image_is_the_version() -> None:
    argv = ["--name=canary", "--http-port=8101"]
    assert parse(argv, {"RAGFLEET_VERSION": "1.2.3-rc1"}).version == "1.2.3-rc1"
    assert parse(argv, {}).version[0].isdigit()


def test_the_gateway_reads_what_the_worker_tells() -> None:
    kept = read_entries([entry("--tenants=internal, testers")])["canary"].member.instance
    assert kept.version == "1.2.3-rc1"
    assert kept.tenant_classes == {"internal", "testers"}
    assert read_entries([entry()])["canary"].member.instance.tenant_classes == frozenset()
    # As Compose writes it where no tenant is named.
    assert read_entries([entry("--tenants=")])["canary"].member.instance.tenant_classes == frozenset()


def test_an_engine_that_keeps_one_prompt_a_slot_says_how_many() -> None:
    settings = parse(["--name=canary", "--http-port=8101"], {})

    def told(engine: str) -> str | None:
        parameters = {"engine": {"string_value": engine}, "slots": {"string_value": "4"}}
        llm = {"backend": "python", "parameters": parameters}
        return describe(settings, llm, {}, None).get("cached_prompts")

    assert told("llamacpp") == "4"
    assert told("simulated") is None


def test_adapters_are_those_that_the_engine_is_given() -> None:
    settings = parse(["--name=canary", "--http-port=8101"], {})
    llm = {"backend": "python", "parameters": {"loras": {"string_value": "law=/a.gguf, code = /b.gguf"}}}
    assert describe(settings, llm, {}, None)["loras"] == "law,code"
    assert "loras" not in describe(settings, {"backend": "python"}, {}, None)
