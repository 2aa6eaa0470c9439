"""The alert rules, in shorter time: nobody waits six hours for a window."""

import re

SHORTER, SLO_SHORTER = 60, 180
"""How many times. The rules of the objectives have the longest windows."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SLO_GROUP = "  - name: ragfleet-slo"


def shortened(rules: str) -> str:
    """The rules with windows, waits and ages so many times shorter, a second at the least. Names of recorded rules stay."""
    first, mark, slo = rules.partition(SLO_GROUP)
    return _shortened(first, SHORTER) + mark + _shortened(slo, SLO_SHORTER)


def _shortened(rules: str, times: int) -> str:
    def shorter(found: re.Match[str]) -> str:
        seconds = max(1, int(found[2]) * SECONDS[found[3]] // times)
        # A rate wants several samples, which come each second.
        return f"{found[1]}{max(seconds, 5) if found[1] == '[' else seconds}s{found[4]}"

    rules = re.sub(r"(\[|for: )(\d+)([smhd])(\]|$)", shorter, rules, flags=re.MULTILINE)
    return re.sub(r"(_seconds\) > )(\d+)", lambda found: f"{found[1]}{max(1, int(found[2]) // times)}", rules)
