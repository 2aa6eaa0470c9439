"""Source code: what it defines, and how it is cut at its definitions."""

import ast
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.knowledge.chunking import Chunk, Chunker
from gateway.knowledge.code.languages import GRAMMARS, tools
from gateway.knowledge.code.outline import DefinitionKind, line_at, line_starts, outline
from gateway.knowledge.conversion import CONVERTERS, convert_bytes

SAMPLES: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    "a.py": (
        """\
import os.path as p
from x.y import z
X: int = 3

# Of A.
@dec(1)
class A(B):
    f: int = 1

    async def m(self):
        self.ü(z())


def g():
    return A()
""",
        ["X", "A", "A.f", "A.m", "g"],
        ["dec", "ü", "z", "A"],
        ["os.path", "x.y", "z"],
    ),
    "a.ts": (
        """\
import {a} from "./m";
export interface I { run(): void }
export const K = 3;
export const f = (x: number) => g(x);
/** Doc. */
export class C extends D { go(): string { return this.h(new Q()) } }
enum E {A}
namespace N { export function nf(){} }
""",
        ["I", "I.run", "K", "f", "C", "C.go", "E", "N", "N.nf"],
        ["g", "h", "Q"],
        ["a", "./m"],
    ),
    "a.js": (
        """\
import d from "m"; export default class C { m(){ return foo() } }
function* gen(){}
const h = function(){};
const Z = 4;
""",
        ["C", "C.m", "gen", "h", "Z"],
        ["foo"],
        ["m"],
    ),
    "a.tsx": (
        """\
export function App(){ return <div onClick={() => go()}/> }
""",
        ["App"],
        ["go"],
        [],
    ),
    "a.go": (
        """\
package main
import (
 "fmt"
)
const K = 1
var V = 2
// S is one.
type S[T any] struct { a int }
func (s *S[T]) Run() { fmt.Println(x()) }
func (p P) R2() {}
func main() {}
""",
        ["K", "V", "S", "S.Run", "P.R2", "main"],
        ["Println", "x"],
        ["fmt"],
    ),
    "a.rs": (
        """\
use std::io::Read;
/// Doc.
#[derive(Debug)]
pub struct S { a: i32 }
impl S { pub fn new() -> Self { helper() } }
impl<T> Tr for G<T> { fn go(&self) { self.x(); a::b(); p!(1) } }
trait Tr { fn go(&self); }
mod m { pub fn inner() {} }
const K: i32 = 1;
""",
        ["S", "S.new", "G.go", "Tr", "Tr.go", "m", "m.inner", "K"],
        ["helper", "x", "b", "p"],
        ["std::io::Read"],
    ),
    "A.java": (
        """\
import java.util.List;
/** Doc. */
public class A { private int f = 1, g; A() {} @Override public void m() { n(new B()); }
interface I { void q(); } record R(int a) {} }
enum E { X }
""",
        ["A", "A.f", "A.g", "A.A", "A.m", "A.I", "A.I.q", "A.R", "E"],
        ["n", "B"],
        ["java.util.List"],
    ),
    "a.c": (
        """\
#include <stdio.h>
#include "a.h"
#define K 1
struct s { int a; };
typedef struct { int b; } t;
static int *fun(int a) { return g(a, p->h()); }
int proto(void);
""",
        ["K", "s", "t", "fun", "proto"],
        ["g", "h"],
        ["stdio.h", "a.h"],
    ),
    "a.cpp": (
        """\
namespace n { class C { public: void m(); int f() { return 1; } }; }
void n::C::m() { x(); std::y(); new Z(); }
template <class T> T tf(T a) { return a; }
""",
        ["n.C", "n.C.m", "n.C.f", "C.m", "tf"],
        ["x", "y", "Z"],
        [],
    ),
    "a.sh": (
        """\
#!/bin/sh
X=1
foo() { bar "$1"; }
function baz { foo; }
""",
        ["X", "foo", "baz"],
        ["bar", "foo"],
        [],
    ),
}
"""Name → text, definitions, calls, imports."""
CHUNKER = Chunker(count=lambda text: len(re.findall(r"\w+", text)), max_tokens=12, overlap_tokens=0)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_language_has_definitions_calls_and_imports(name: str) -> None:
    text, definitions, calls, imports = SAMPLES[name]
    found = outline(text, name)
    assert [each.qualified for each in found.definitions] == definitions
    assert [each.name for each in found.calls] == calls
    assert [each.name for each in found.imports] == imports
    for each in found.definitions:
        assert text[each.named_at :].startswith(each.name)
        assert each.start <= each.named_at < each.end


def test_every_ending_has_a_grammar_that_reads_its_query_and_a_converter() -> None:
    for ending, grammar in GRAMMARS.items():
        tools(grammar)
        assert ending in CONVERTERS, ending


def test_what_stands_right_above_a_definition_is_a_part_of_it() -> None:
    found = {each.name: each for each in outline(SAMPLES["a.py"][0], "a.py").definitions}
    assert SAMPLES["a.py"][0][found["A"].start :].startswith("# Of A.\n@dec(1)\nclass A")
    rust = SAMPLES["a.rs"][0]
    assert rust[outline(rust, "a.rs").definitions[0].start :].startswith("/// Doc.\n#[derive")
    apart = "# Of nothing.\n\nx = 1  # of x\ndef f(): ...\n"
    assert apart[outline(apart, "a.py").definitions[-1].start :].startswith("def f")


def test_names_are_those_of_python_itself() -> None:
    """Of modules of this project, chosen evenly."""
    files = sorted(Path(gateway.__file__).parent.rglob("*.py"))[::25]
    for path in files:
        text = path.read_text("utf-8")
        wanted = {
            (node.name, node.lineno)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        starts = line_starts(text)
        found = {
            (each.name, line_at(starts, each.named_at))
            for each in outline(text, path.name).definitions
            if each.kind in (DefinitionKind.CLASS, DefinitionKind.FUNCTION)
        }
        assert found == wanted, path


@pytest.mark.parametrize("name", SAMPLES)
def test_a_definition_is_a_chunk_under_the_names_that_it_stands_in(name: str) -> None:
    document = convert_bytes(f"pkg/{name}", SAMPLES[name][0].encode())
    chunks = CHUNKER.chunks(document, outline(document.text, document.title))
    check_whole(document.text, chunks)
    assert all(chunk.indexed.startswith(f"pkg/{name}") for chunk in chunks)


def test_a_long_class_is_its_head_and_its_methods() -> None:
    document = convert_bytes("pkg/a.py", SAMPLES["a.py"][0].encode())
    chunks = CHUNKER.chunks(document, outline(document.text, document.title))
    indexed = [chunk.indexed for chunk in chunks]
    assert "pkg/a.py › A\nasync def m(self):\n        self.ü(z())" in indexed
    assert "pkg/a.py\ndef g():\n    return A()" in indexed


@given(st.lists(st.sampled_from([text for text, *_ in SAMPLES.values()]), max_size=4), st.integers(0, 2**32))
def test_nothing_is_lost_of_what_is_not_valid(texts: list[str], seed: int) -> None:
    """Pieces of any language, cut and joined at random, read as any other."""
    random_ = random.Random(seed)
    parts = [text[random_.randrange(len(text)) :] for text in texts]
    name = random_.choice(sorted(SAMPLES))
    source = "\n".join(parts)
    if not source.strip():
        return
    document = convert_bytes(name, source.encode())
    check_whole(document.text, CHUNKER.chunks(document, outline(document.text, name)))


@given(st.text(st.sampled_from("a \n\r\t\f\v\x85\xad\u2028é#"), min_size=1))
def test_lines_of_source_code_are_those_of_an_editor(text: str) -> None:
    if not text.strip() or not re.search(r"[aé#]", text):
        return
    document = convert_bytes("a.py", text.encode())
    assert document.lined
    assert document.text.count("\n") == re.sub(r"\r\n?", "\n", text).count("\n")


def check_whole(text: str, chunks: list[Chunk]) -> None:
    """Chunks are slices of the text, in order, and all of it but white space."""
    at = 0
    for chunk in chunks:
        assert chunk.body == text[chunk.start : chunk.end]
        assert chunk.indexed.endswith(chunk.body)
        assert not text[at : chunk.start].strip()
        at = chunk.end
    assert not text[at:].strip()
