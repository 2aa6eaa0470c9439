"""The assistants: a profile each (`NAME.yaml`), and the Python of their tools, which knows nothing of the gateway."""
