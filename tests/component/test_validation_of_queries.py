"""Queries of every path: a parameter that is there twice is refused by name, for one of the two would be ignored."""

from tests.support.running import Fleet


async def test_a_parameter_is_there_once(fleet: Fleet) -> None:
    document = (await fleet.get("/openapi.json")).json
    asked = set()
    for path, methods in document["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", ()):
            if parameter["in"] != "query" or not path.startswith("/v1/"):
                continue
            real = path.replace("{item_id}", "msg_1")
            real = "/".join("x_1" if part.startswith("{") else part for part in real.split("/"))
            name = parameter["name"]
            reply = await fleet.get(f"{real}?{name}=1&{name}=2")
            if parameter["schema"].get("type") == "array" or "items" in str(parameter["schema"]):
                assert "times" not in reply.error["message"]
            else:
                assert (reply.status, reply.error["param"]) == (400, name), (path, name)
                assert "2 times" in reply.error["message"]
                asked.add(name)
    assert asked >= {"after", "limit", "order", "stream", "purpose", "start_time"}
