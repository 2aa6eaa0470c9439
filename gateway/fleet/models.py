"""What the serving instances can do together: the models that some of them has, and how much they take."""

from collections.abc import Mapping

from gateway.fleet.store import FleetStore
from gateway.fleet.view import FleetView


class ServedModels:
    """The models of the fleet, as they are now. One for the life of the application."""

    def __init__(self, store: FleetStore) -> None:
        self.generating: Mapping[str, int] = {}
        """Model id → the longest context of any instance that serves it, in tokens; in the order of the ids."""
        self.embedding: list[str] = []
        """Embedding models, sorted."""
        self.slots = 0
        """Sequences that all serving instances decode at the same time."""
        store.subscribe(self._follow)

    def _follow(self, view: FleetView) -> None:
        contexts: dict[str, int] = {}
        instances = [member.instance for member in view.serving]
        for instance in instances:
            contexts[instance.model] = max(contexts.get(instance.model, 0), instance.max_context)
        self.generating = dict(sorted(contexts.items()))
        self.embedding = sorted({i.embedding_model for i in instances if i.embedding_model})
        self.slots = sum(i.slots for i in instances)
