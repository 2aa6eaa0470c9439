"""What is searched for a question that leans on an earlier one."""

import pytest

from gateway.retrieval.follow_up import follows_up, searchable, standalone, with_history

FIRST = "How long is the warranty of the Dewpoint Pro?"


def leaning(topic: str, question: str) -> str:
    """What is searched: the question counts more than what it leans on."""
    return "\n".join([topic, question, question, question])


@pytest.mark.parametrize(
    "question",
    ["And of the Mini?", "What does it cost?", "Why?", "How long are they kept?", "", "What about business customers?"],
)
def test_question_that_leans_is_searched_behind_the_one_before(question: str) -> None:
    assert follows_up(question)
    assert with_history([FIRST, question]) == leaning(FIRST, question)


@pytest.mark.parametrize(
    "question", [FIRST, "Who founded Brindlemoor Systems?", "What is the capital city of Mongolia?"]
)
def test_question_that_stands_alone_is_searched_alone(question: str) -> None:
    assert with_history(["What does the leaf clip LC-1 cost?", question]) == question


def test_first_question_stays_as_it_is() -> None:
    assert with_history(["And this?"]) == "And this?"


def test_it_leans_on_the_latest_question_that_stands_alone() -> None:
    earlier = ["What does the leaf clip LC-1 cost?", FIRST, "And of the Mini?"]
    assert with_history([*earlier, "Why?"]) == leaning(FIRST, "Why?")
    assert with_history(["Why?", "And how?"]) == leaning("Why?", "And how?")


CONVERSATION = f"User: {FIRST}\nAssistant: 30 months.\nUser: And of the Mini?"


@pytest.mark.parametrize(
    "said",
    [
        "How long is the warranty of the Dewpoint Mini?",
        '\n"How long is the warranty of the Dewpoint Mini?"\nThis is the question.',
        "Question: How long is the warranty of the Dewpoint Mini?",
        "The user asked: How long is the warranty of the Dewpoint Mini?",
    ],
)
def test_a_models_wording_is_taken(said: str) -> None:
    assert standalone(said, CONVERSATION, "And of the Mini?") == "How long is the warranty of the Dewpoint Mini?"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "\n",
        "I am happy to help you with all questions about elephants!",
        "How long is the warranty of the Dewpoint Pro?",  # the question's own word is lost
        "Mini " * 100,
        "It is the",
        "How long is the warranty of it, the Mini?",
    ],
)
def test_what_is_no_wording_of_the_question_is_not_taken(said: str) -> None:
    assert standalone(said, CONVERSATION, "And of the Mini?") is None


def test_a_code_counts_as_one_word() -> None:
    conversation = "User: What does E12 mean on a controller?\nAssistant: Sensor lost.\nUser: And E31?"
    worded = "What does E31 mean on a controller?"
    assert standalone("What does E12 mean on a controller?", conversation, "And E31?") is None
    assert standalone(worded, conversation, "And E31?") == worded


@pytest.mark.parametrize(
    "question",
    [
        "Who leads the IT department?",
        "Where is the IT desk in Leipzig?",
        "Who tests ONES and zeros?",
        "Was kosten Ihre neuen Geräte?",
    ],
)
def test_a_name_in_capitals_is_no_word_that_points_back(question: str) -> None:
    assert not follows_up(question)


@pytest.mark.parametrize(
    "question", ["WHAT DOES IT COST?", "What does it cost in the IT?", "And of the F0418?", "HOW LONG?"]
)
def test_a_question_that_points_back_does_so_beside_a_name_and_in_capitals(question: str) -> None:
    assert follows_up(question)


def test_of_a_very_long_question_beginning_and_end_are_searched() -> None:
    text = f"Dear team, {'word ' * 100_000}how long may it be?"
    found = searchable(text)
    assert len(found) == 8192
    assert found.startswith("Dear team")
    assert found.endswith("how long may it be?")
    assert searchable(found) == found
