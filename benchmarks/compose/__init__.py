"""`make test-compose`: docker/compose.yaml in real containers, each service killed under load, backed up and restored."""
