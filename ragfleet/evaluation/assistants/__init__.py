"""How well the shipped assistants keep their rules, through the API: sets of assistants/eval, asked and measured."""
