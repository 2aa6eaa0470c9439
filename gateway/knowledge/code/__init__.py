"""Source code as a reader sees it: what it defines, imports and calls, and where."""
