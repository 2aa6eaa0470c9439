"""How a summary of a long document scales with instances. `python -m benchmarks.long_document`

A text of 200 pages goes to the content assistant, which summarises its pieces side by side and then their summaries, over 1, 2
and 4 real Tritons with the simulated engine. One instance has four places, and a token takes its time however busy the machine
is: what is measured is how well the gateway keeps instances at work, not the machine. The bar: n instances are 0.8 n times as
quick as one. Whole summaries alone count: each has all of its parts, in their order.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, print_table, write_json
from ragfleet.client import connect
from tests.support.embedded_fleet import embedded

BAR = 0.8
PAGE = 3000
"""Characters."""
PIECE = 1500
PLACES = 4
"""Of an instance."""
TOKENS = 10
"""Of a summary."""
PROFILE = f"""kind: content
system: You summarise.
max_tokens: {TOKENS}
max_input_chars: 4000000
writing: {{piece_chars: {PIECE}, concurrency: 64, max_pieces: 5000}}
"""


def document(pages: int) -> str:
    """So many pages of paragraphs, no two alike."""
    paragraph = "Paragraph {} is about pump number {} of the greenhouse, which was looked after in week {}. "
    text, number = [], 0
    while sum(map(len, text)) < pages * PAGE:
        number += 1
        text.append("".join(paragraph.format(number, number * 7 % 997, week) for week in range(1, 9)).strip() + "\n\n")
    return "".join(text)[: pages * PAGE]


def main() -> int:
    """Measure, print the table. 1 where the bar is missed or a summary is not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--step-ms", type=int, default=100, help="that a token takes")
    parser.add_argument("--port-base", type=int, default=28400)
    args = parser.parse_args()
    text = document(args.pages)
    times, whole = {}, True
    for count in args.instances:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "long.yaml").write_text(PROFILE)
            engine = (
                f'{{"decode_step_ms": {args.step_ms}, "decode_step_ms_per_sequence": 0, "slots": {PLACES},'
                f' "prefill_tokens_per_s": 1000000}}'
            )
            env = {"RAGFLEET_LLM_PARAMS": engine, "RAGFLEET_INGESTION": "0", "RAGFLEET_ASSISTANTS_DIR": folder}
            env["RAGFLEET_REQUEST_DEADLINE_S"] = "3600"
            models = ("prompt", "llm")
            with embedded(
                instances=count, flavour="simulated", port_base=args.port_base, env=env, models=models
            ) as fleet:
                times[count], good = _summarised(f"http://127.0.0.1:{fleet.port}", fleet.key, text)
                whole &= good
    first = min(times)
    speedups = {count: times[first] / taken * first for count, taken in times.items()}
    print_table(
        f"A summary of {args.pages} pages (load {os.getloadavg()[0]:.1f})",
        ["instances", "seconds", "times as quick", "of n"],
        [[count, taken, f"{speedups[count]:.2f}", f"{speedups[count] / count:.2f}"] for count, taken in times.items()],
    )
    good = whole and all(speedup >= BAR * count for count, speedup in speedups.items())
    print(f"{'Whole' if whole else 'Not whole'}; the bar is {BAR} n: {'met' if good else 'missed'}")
    rows = [{"instances": count, "seconds": taken, "speedup": speedups[count]} for count, taken in times.items()]
    figures = [
        Figure(f"a summary of {args.pages} pages over {count} instances, times as quick for each",
               speedups[count] / count, "", "one instance, s", times[first], speedups[count] / count, at_least=BAR)
        for count in times
        if count != first
    ]  # fmt: skip
    result = {"pages": args.pages, "step_ms": args.step_ms, "rows": rows, "bar_met": good}
    write_json(
        "long_document", result, figures=[*figures, Figure("summaries that were not whole", int(not whole), at_most=0)]
    )
    return 0 if good else 1


def _summarised(url: str, key: str, text: str) -> tuple[float, bool]:
    """Seconds, and whether the answer has all parts of the text, one behind the other."""
    client = connect(url, key).with_options(timeout=3600.0, max_retries=0)
    with client:
        client.models.list()  # the connection is there
        started = time.perf_counter()
        answer = client.chat.completions.create(
            model="assistant:long", messages=[{"role": "user", "content": f"Summarise this:\n{text}"}]
        )
        taken = time.perf_counter() - started
    said = answer.choices[0].message.content or ""
    places = [(int(a), int(b)) for a, b in re.findall(r"^\[\d+\] characters (\d+)–(\d+):", said, re.MULTILINE)]
    starts, ends = [a for a, _ in places], [b for _, b in places]
    return taken, bool(places) and starts[0] == 0 and ends[-1] >= len(text.strip()) - 2 and starts[1:] == ends[:-1]


if __name__ == "__main__":
    sys.exit(main())
