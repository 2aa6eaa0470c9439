"""Stop strings over pieces of text: as if the whole text had been cut."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.stop_strings import StopMatcher

few = st.text("abc", min_size=1, max_size=4)
stops = st.lists(few, min_size=1, max_size=4)
pieces = st.lists(st.text("abc", max_size=5), max_size=12)


def cut(text: str, stops: list[str]) -> str | None:
    """The text before the stop string that is complete first (of two that end together, the longer); None without one."""
    for end in range(1, len(text) + 1):
        starts = [end - len(s) for s in stops if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)]
    return None


@given(stops, pieces)
def test_text_is_cut_at_the_stop_string_that_is_complete_first(stops: list[str], pieces: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown = "".join(matcher.push(piece) for piece in pieces)
    expected = cut("".join(pieces), stops)
    if expected is None:
        assert matcher.matched is None
        assert shown + matcher.flush() == "".join(pieces)
    else:
        assert matcher.matched in stops
        assert shown == expected
        assert matcher.flush() == ""


@given(stops, pieces, st.text("abc", max_size=5))
def test_nothing_comes_after_a_match(stops: list[str], pieces: list[str], more: str) -> None:
    matcher = StopMatcher(stops)
    for piece in [*pieces, stops[0]]:
        matcher.push(piece)
    assert matcher.matched is not None
    assert matcher.push(more) + matcher.flush() == ""


@given(stops, pieces)
def test_no_more_is_held_back_than_could_begin_a_stop_string(stops: list[str], pieces: list[str]) -> None:
    matcher = StopMatcher(stops)
    text = shown = ""
    for piece in pieces:
        text += piece
        shown += matcher.push(piece)
        if matcher.matched is not None:
            return
        held = text.removeprefix(shown)
        assert held == "" or any(s.startswith(held) for s in stops)


def test_how_the_text_was_cut_into_pieces_does_not_matter() -> None:
    for pieces in (["abc"], ["a", "b", "c"], ["ab", "c"]):
        matcher = StopMatcher(["abc", "b"])
        assert "".join(map(matcher.push, pieces)) == "a"
