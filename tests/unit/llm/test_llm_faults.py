"""Faults: what may be asked for, and a file of them that comes, changes and goes."""

import json
import os
from pathlib import Path

import pytest

from llm_engine.faults import FaultFile, Faults


def test_unknown_names_and_wrong_types_are_told() -> None:
    with pytest.raises(ValueError, match="unknown fault 'explode'; there are: stall, slow"):
        Faults.parse({"explode": True})
    for wrong in ({"stall": 1}, {"die_at_token": True}, {"slow": "2"}):
        with pytest.raises(ValueError, match="wrong type"):
            Faults.parse(wrong)
    assert Faults.parse({"slow": 10, "error_at_token": 3}) == Faults(slow=10, error_at_token=3)


def test_the_file_comes_changes_and_goes(tmp_path: Path) -> None:
    path, complaints = tmp_path / "faults.json", list[str]()
    base = Faults(slow=2)
    file = FaultFile(path, base, complaints.append)
    assert file.current(0.0) == base
    path.write_text('{"stall": true}')
    assert file.current(0.04) == base, "looked at too soon"
    assert file.current(0.06) == Faults(stall=True)
    fresh = tmp_path / "fresh"
    fresh.write_text(json.dumps({"reject": True}))
    os.utime(fresh, ns=(1, 1))
    fresh.replace(path)
    assert file.current(0.2) == Faults(reject=True)
    path.write_text("{")
    assert file.current(0.3) == Faults(reject=True)
    assert len(complaints) == 1
    assert str(path) in complaints[0]
    file.current(0.4)
    assert len(complaints) == 1, "one complaint for one state of the file"
    path.unlink()
    assert file.current(0.5) == base
