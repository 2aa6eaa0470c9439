"""From a question to a read-only query and what it gives: the tables, the grammar, the check, the execution, how it is told."""
