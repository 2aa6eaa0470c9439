"""A file through the content assistant, as any OpenAI client does it: uploaded, named beside a question, fetched."""

from contextlib import closing
from pathlib import Path
from typing import Any

from ragfleet.client import connect, told
from ragfleet.console import fail
from ragfleet.status import FleetStatus

TIMEOUT_S = 3600.0
"""A long document on a small fleet."""


def work_on_file(seen: FleetStatus, model: str, words: str, source: Path, target: Path) -> dict[str, Any]:
    """Write to `target` what the assistant makes of `source`; its words and the ids of both files, of which none is kept."""
    with closing(connect(seen.gateway_url, seen.api_key)) as plain:
        client = plain.with_options(timeout=TIMEOUT_S, max_retries=0)
        uploaded = told(client.files.create, file=source, purpose="user_data")
        made = ""
        try:
            part: Any = {"type": "input_file", "file_id": uploaded.id}
            said: Any = {"role": "user", "content": [{"type": "input_text", "text": words}, part]}
            response = told(client.responses.create, model=model, input=[said], store=False)
            notes = [
                note
                for item in response.output
                if item.type == "message"
                for text in item.content
                if text.type == "output_text"
                for note in text.annotations
                if note.type == "file_path"
            ]
            if not notes:
                raise fail(f"The assistant made no file: {response.output_text[:500]}")
            made = notes[0].file_id
            target.write_bytes(told(client.files.content, made).content)
            return {"text": response.output_text, "from": uploaded.id, "made": made, "written": str(target)}
        finally:
            for file_id in filter(None, (uploaded.id, made)):
                told(client.files.delete, file_id)
