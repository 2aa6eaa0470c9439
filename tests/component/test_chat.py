"""A chat completion, whole and streamed, from the client's socket to the engine's."""

from running import Fleet


async def test_whole_answer(fleet: Fleet) -> None:
    fleet.says("The kettle sings.")
    reply = await fleet.chat("What does the kettle do?")
    assert reply.status == 200
    assert reply.text == "The kettle sings."
