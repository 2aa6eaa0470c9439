"""The engines behind Triton's model `llm`, their requests, their metrics. `1/model.py` is only the door to it."""
