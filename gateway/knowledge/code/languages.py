"""Programming languages: their grammars, and what in a tree is a definition, a call, an import.

In a query `@class`, `@function`, `@constant` and `@field` are definitions, which `@name` names; `@scope` beside them is the name
of what they belong to, where that does not stand around them. `@within` is no definition, but what stands in it belongs to
`@name`. `@call` and `@import` are names that are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePath
from types import MappingProxyType

from tree_sitter import Language, Parser, Query


@dataclass(frozen=True, slots=True)
class Grammar:
    """A package on PyPI, its function that gives the grammar, and what is looked for."""

    module: str
    query: str
    function: str = "language"


_PYTHON = """
(class_definition name: (identifier) @name) @class
(function_definition name: (identifier) @name) @function
(module (expression_statement (assignment left: (identifier) @name) @constant))
(class_definition body: (block (expression_statement (assignment left: (identifier) @name) @field)))
(call function: [(identifier) @call (attribute attribute: (identifier) @call)])
(import_statement name: [(dotted_name) @import (aliased_import name: (dotted_name) @import)])
(import_from_statement module_name: (_) @import)
(import_from_statement name: [(dotted_name) @import (aliased_import name: (dotted_name) @import)])
"""

_JAVASCRIPT = """
(class_declaration name: (_) @name) @class
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(method_definition name: (_) @name) @function
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @function
(program [
  (lexical_declaration (variable_declarator name: (identifier) @name) @constant)
  (export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @constant))
])
(call_expression function: [(identifier) @call (member_expression property: (property_identifier) @call)])
(new_expression constructor: (identifier) @call)
(import_statement source: (string (string_fragment) @import))
(import_specifier name: (identifier) @import)
"""

_TYPESCRIPT = (
    _JAVASCRIPT
    + """
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(type_alias_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(internal_module name: (_) @name) @class
(function_signature name: (identifier) @name) @function
(abstract_method_signature name: (_) @name) @function
(method_signature name: (_) @name) @function
"""
)

_GO = """
(type_spec name: (type_identifier) @name) @class
(type_alias name: (type_identifier) @name) @class
(function_declaration name: (identifier) @name) @function
(method_declaration
  receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @scope
    (pointer_type (type_identifier) @scope)
    (generic_type type: (type_identifier) @scope)
    (pointer_type (generic_type type: (type_identifier) @scope))
  ]))
  name: (field_identifier) @name) @function
(const_spec name: (identifier) @name) @constant
(source_file (var_declaration (var_spec name: (identifier) @name) @constant))
(call_expression function: [(identifier) @call (selector_expression field: (field_identifier) @call)])
(import_spec path: (interpreted_string_literal (interpreted_string_literal_content) @import))
"""

_RUST = """
(struct_item name: (_) @name) @class
(enum_item name: (_) @name) @class
(union_item name: (_) @name) @class
(type_item name: (_) @name) @class
(trait_item name: (_) @name) @class
(mod_item name: (_) @name body: (_)) @class
(function_item name: (_) @name) @function
(function_signature_item name: (_) @name) @function
(macro_definition name: (_) @name) @function
(const_item name: (_) @name) @constant
(static_item name: (_) @name) @constant
(impl_item type: [(type_identifier) @name (generic_type type: (type_identifier) @name)]) @within
(call_expression function: [
  (identifier) @call
  (field_expression field: (field_identifier) @call)
  (scoped_identifier name: (identifier) @call)
])
(macro_invocation macro: (identifier) @call)
(use_declaration argument: (_) @import)
"""

_JAVA = """
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(annotation_type_declaration name: (_) @name) @class
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(field_declaration declarator: (variable_declarator name: (_) @name)) @field
(method_invocation name: (_) @call)
(object_creation_expression type: (type_identifier) @call)
(import_declaration (scoped_identifier) @import)
"""

_C = """
(struct_specifier name: (type_identifier) @name body: (_)) @class
(union_specifier name: (type_identifier) @name body: (_)) @class
(enum_specifier name: (type_identifier) @name body: (_)) @class
(type_definition declarator: (type_identifier) @name) @class
(function_declarator declarator: (identifier) @name) @function
(preproc_def name: (identifier) @name) @constant
(preproc_function_def name: (identifier) @name) @function
(call_expression function: [(identifier) @call (field_expression field: (field_identifier) @call)])
(preproc_include path: [
  (string_literal (string_content) @import)
  (system_lib_string) @import
])
"""

_CPP = (
    _C
    + """
(class_specifier name: (type_identifier) @name body: (_)) @class
(namespace_definition name: (_) @name) @within
(alias_declaration name: (type_identifier) @name) @class
(function_declarator declarator: (field_identifier) @name) @function
(function_declarator declarator: (qualified_identifier
  scope: [(namespace_identifier) @scope (template_type name: (type_identifier) @scope)] name: (identifier) @name)) @function
(function_declarator declarator: (qualified_identifier name: (qualified_identifier
  scope: [(namespace_identifier) @scope (template_type name: (type_identifier) @scope)] name: (identifier) @name))) @function
(call_expression function: (qualified_identifier name: (identifier) @call))
(new_expression type: (type_identifier) @call)
"""
)

_BASH = """
(function_definition name: (word) @name) @function
(program (variable_assignment name: (variable_name) @name) @constant)
(command name: (command_name (word) @call))
"""

_JS = Grammar("tree_sitter_javascript", _JAVASCRIPT)
_TS = Grammar("tree_sitter_typescript", _TYPESCRIPT, "language_typescript")

GRAMMARS: Mapping[str, Grammar] = MappingProxyType(
    {
        **dict.fromkeys((".py", ".pyi"), Grammar("tree_sitter_python", _PYTHON)),
        **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), _JS),
        **dict.fromkeys((".ts", ".mts", ".cts"), _TS),
        ".tsx": Grammar("tree_sitter_typescript", _TYPESCRIPT, "language_tsx"),
        ".go": Grammar("tree_sitter_go", _GO),
        ".rs": Grammar("tree_sitter_rust", _RUST),
        ".java": Grammar("tree_sitter_java", _JAVA),
        ".c": Grammar("tree_sitter_c", _C),
        **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu"), Grammar("tree_sitter_cpp", _CPP)),
        **dict.fromkeys((".sh", ".bash"), Grammar("tree_sitter_bash", _BASH)),
    }
)
"""By the ending of a file's name, in lower case. Headers are read as C++, which has nearly all of C."""


def grammar_of(name: str) -> Grammar | None:
    """Of a file by its name; None for a language without one."""
    return GRAMMARS.get(PurePath(name).suffix.lower())


@cache
def tools(grammar: Grammar) -> tuple[Parser, Query]:
    """A parser, and the query made ready. The grammar's library is loaded with its first use."""
    language = Language(getattr(import_module(grammar.module), grammar.function)())
    return Parser(language), Query(language, grammar.query)
