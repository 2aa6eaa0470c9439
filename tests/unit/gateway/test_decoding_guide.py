"""What an answer must be, on its way to an engine."""

from gateway.serving.decoding_guide import Guide, GuideKind


def test_a_guide_goes_to_the_engine_under_tensorrt_llms_names() -> None:
    assert Guide(GuideKind.REGEX, "[a-z]+").engine_inputs() == {
        "guided_decoding_guide_type": "regex",
        "guided_decoding_guide": "[a-z]+",
    }
