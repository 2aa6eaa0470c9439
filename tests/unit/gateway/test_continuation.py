"""What an instance is sent that goes on with an answer."""

from dataclasses import replace

from gateway.dispatch.continuation import continued, rest_of
from gateway.routing.types import PlacementRequest


def test_the_journal_becomes_prompt_and_lowers_the_limit() -> None:
    job = PlacementRequest(model="m", prompt_ids=[1, 2], max_tokens=10, tenant="t", request_id="r")
    assert rest_of(job, [3, 4, 5]) == replace(job, prompt_ids=[1, 2, 3, 4, 5], max_tokens=7)


def test_least_tokens_seed_and_guide_count_what_was_given() -> None:
    sampling = {"min_tokens": 5, "seed": 2**64 - 1, "guided_decoding_guide_type": "json", "runtime_top_k": 3}
    assert continued(sampling, 2) == {
        "min_tokens": 3,
        "seed": 1,
        "guided_decoding_guide_type": "json",
        "guided_decoding_prefix_length": 2,
        "runtime_top_k": 3,
    }
    assert sampling["min_tokens"] == 5
    assert continued({}, 7) == {"min_tokens": 0}
