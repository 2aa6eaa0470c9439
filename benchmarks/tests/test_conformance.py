"""The comparison of two descriptions: what counts, what counts once, and what is told apart."""

from typing import Any

from benchmarks.conformance.comparison import Aside, Comparison, Finding, paired
from benchmarks.conformance.description import Description

NAMED = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def _description(body: Any = None, answer: Any = None, *, prefix: str = "", **schemas: Any) -> Description:
    content = {"content": {"application/json": {"schema": answer or NAMED}}}
    operation: dict[str, Any] = {"responses": {"200": content}}
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return Description({"paths": {f"{prefix}/things/{{id}}": {"post": operation}}, "components": {"schemas": schemas}})


def _compared(theirs: Description, ours: Description) -> list[Finding]:
    comparison = Comparison(theirs, ours)
    for _, their, our in paired(theirs, ours, {"things": ("/things",)}):
        comparison.of(their, our)
    return comparison.findings()


def _found(theirs: Description, ours: Description) -> dict[str, str]:
    """What is wrong, by place."""
    return {each.place: each.why for each in _compared(theirs, ours) if each.why and each.aside is None}


def _body(required: tuple[str, ...] = (), **properties: Any) -> Any:
    return {"type": "object", "properties": properties, "required": list(required)}


def _wrong(theirs: Any, ours: Any) -> str:
    """Of the property `x` of a request."""
    ours_too = {} if ours is None else {"x": ours}
    found = _found(_description(_body(id={}, x=theirs)), _description(_body(id={}, **ours_too), prefix="/v1"))
    return found.get("request POST /things/{id}.x", "")


def test_the_same_is_right() -> None:
    assert (
        _found(_description(_body(x={"type": "string"})), _description(_body(x={"type": "string"}), prefix="/v1")) == {}
    )


def test_a_property_is_there_and_takes_what_theirs_takes() -> None:
    number = {"type": "integer", "minimum": 0, "maximum": 10}
    assert _wrong(number, None) == "not there"
    assert _wrong(number, {"type": "string"}) == "may be no integer"
    assert _wrong(number, {"anyOf": [{"type": "number"}, {"type": "null"}]}) == ""
    assert _wrong(number, {"type": "integer", "minimum": 1}) == "minimum 1, not 0"
    assert _wrong({"enum": ["a", "b"]}, {"enum": ["a"]}) == "does not take b"
    assert _wrong({"enum": ["a", "b"]}, {"type": "string"}) == ""
    assert _wrong({"type": "array", "items": {"type": "string"}}, {"type": "string"}) == "may be no list"
    assert _wrong({"enum": ["text", "audio"]}, {"enum": ["text"]}) == "", "audio is told apart"


def test_what_is_required_here_and_not_there_is_wrong() -> None:
    found = _found(_description(_body(x={})), _description(_body(("x",), x={}), prefix="/v1"))
    assert found == {"request POST /things/{id}.x": "required here"}


def test_an_answer_says_only_what_theirs_may_say_and_all_that_theirs_always_says() -> None:
    theirs = _body(("a", "b"), a={"enum": ["x"]}, b={"type": "integer"}, c={"type": "string"})
    found = _found(_description(answer=theirs), _description(answer=_body(a={"enum": ["x", "y"]}), prefix="/v1"))
    assert found == {"answer POST /things/{id}.a": "may be y", "answer POST /things/{id}.b": "not there"}


def test_what_an_answer_may_leave_out_is_in_the_strict_share_alone() -> None:
    forms = {name: _body(("type",), type={"enum": [name]}) for name in ("one", "two")}
    theirs = _description(answer=_body(("a",), a={"anyOf": list(forms.values())}, b={"type": "string"}))
    ours = _description(answer=_body(("a",), a=forms["one"]), prefix="/v1")
    wrong = [each.aside for each in _compared(theirs, ours) if each.why]
    assert wrong == [Aside.OPTIONAL] * 2


def test_what_counts_somewhere_is_not_set_aside_elsewhere() -> None:
    shared = {"$ref": "#/components/schemas/Shared"}
    theirs = _description(_body(audio=shared, text=shared), Shared=_body(x={"type": "string"}, y={}))
    ours = _description(_body(audio=_body(x={"type": "string"}, y={}), text=_body(y={})), prefix="/v1")
    assert _found(theirs, ours) == {"request Shared.x": "not there"}


def test_forms_of_a_union_are_found_by_their_type_and_count_once() -> None:
    forms = {
        name: _body(("type",), type={"enum": [name]}, inside={"type": "string"})
        for name in ("one", "two", "web_search")
    }
    union = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in forms]}
    body = _body(x={"type": "array", "items": union}, y=union)
    ours = _body(x={"type": "array", "items": forms["one"]}, y=forms["one"])
    assert _found(_description(body, **forms), _description(ours, prefix="/v1")) == {
        "request two": "this form is not there"
    }


def test_a_missing_endpoint_counts_once() -> None:
    empty = Description({"paths": {}})
    assert _found(_description(_body(x={})), empty) == {"POST /things/{id}": "no such endpoint"}


def test_real_answers_are_held_against_both() -> None:
    theirs, ours = _description(), _description(answer=_body(), prefix="/v1")
    comparison = Comparison(theirs, ours)
    ((_, their, our),) = paired(theirs, ours, {"things": ("/things",)})
    assert our is not None
    comparison.truth(their, our, {"id": "a", "extension": 1})
    assert not [each for each in comparison.findings() if each.why]
    comparison.truth(their, our, {"id": 5})
    assert [each.place for each in comparison.findings() if each.why] == ["real answer of POST /things/{id}"]
