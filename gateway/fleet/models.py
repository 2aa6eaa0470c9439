"""What the serving instances can do together: the models that some of them has, and how much they take."""

from collections.abc import Mapping, Set
from typing import Any

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetView


class ServedModels:
    """The models of the fleet, as they are now. One for the life of the application.

    remembers: while nothing serves, they are what served last, for an instance of that is started when somebody asks.
    """

    def __init__(self, store: FleetState, *, remembers: bool = False) -> None:
        self.generating: Mapping[str, int] = {}
        """Model id → the longest context of any instance that serves it, in tokens; in the order of the ids."""
        self.loras: Mapping[str, Set[str]] = {}
        """Model id → adapters that some instance has to it."""
        self.embedding: list[str] = []
        """Embedding models, sorted."""
        self.slots = 0
        """Sequences that all serving instances decode at the same time."""
        self.slots_each = 0.0
        """The same of one instance on average, of those that served last; 0 before there was any."""
        self._remembers = remembers
        store.subscribe(self._follow)

    def adapter(self, name: str) -> tuple[str, str]:
        """A model's name as model and adapter, "" for none; `model:adapter` where some instance has that."""
        model, _, lora = name.rpartition(":")
        return (model, lora) if name not in self.generating and lora in self.loras.get(model, ()) else (name, "")

    @property
    def adapted(self) -> list[str]:
        """`model:adapter` for all that there are, sorted."""
        return sorted(f"{model}:{lora}" for model, loras in self.loras.items() for lora in loras)

    def _follow(self, view: FleetView) -> None:
        contexts: dict[str, int] = {}
        instances = [member.instance for member in view.serving]
        if not instances and self._remembers:
            self.slots = 0
            return
        for instance in instances:
            contexts[instance.model] = max(contexts.get(instance.model, 0), instance.max_context)
        self.generating = dict(sorted(contexts.items()))
        self.loras = {
            name: frozenset().union(*(each.loras for each in instances if each.model == name)) for name in contexts
        }
        self.embedding = sorted({i.embedding_model for i in instances if i.embedding_model})
        self.slots = sum(i.slots for i in instances)
        self.slots_each = self.slots / len(instances) if instances else self.slots_each

    def to_json(self) -> dict[str, Any]:
        """What there is, for another gateway's `recall`."""
        return {
            "generating": dict(self.generating),
            "loras": {model: sorted(loras) for model, loras in self.loras.items()},
            "embedding": self.embedding,
            "slots": self.slots_each,
        }

    def recall(self, known: Mapping[str, Any]) -> None:
        """What was there before this gateway: `to_json` of then. Passed over where an instance has been seen."""
        if self.generating:
            return
        self.generating = dict(known["generating"])
        self.loras = {model: frozenset(loras) for model, loras in known["loras"].items()}
        self.embedding = list(known["embedding"])
        self.slots_each = float(known["slots"])
