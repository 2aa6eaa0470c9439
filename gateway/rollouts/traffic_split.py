"""Which requests go to the candidate: an exact share of them, and a conversation always to the same side."""

from collections import OrderedDict

SLACK = 2.0
"""Requests that the count may be off the exact share before it is set right. More: more conversations stay where their hash puts
them, which all gateways agree on."""
REMEMBERED = 20_000
"""Conversations whose side is not the one that their hash says."""


class TrafficSplit:
    """Sides of requests. A conversation's hash decides, so that every gateway says the same without asking another.

    Only where the count would be further from `share` than SLACK does the count decide, for a conversation that begins; its
    further turns are remembered here. So of n first turns share·n ± (SLACK + 1) go to the candidate; further turns follow theirs.
    """

    def __init__(self, share: float) -> None:
        """share: 0–1."""
        self._share = share
        self._owed = 0.0
        self._moved: OrderedDict[int, bool] = OrderedDict()

    def take(self, conversation: int, *, begins: bool) -> bool:
        """Whether this request goes to the candidate. conversation: a hash of 64 bits, the same for each of its turns."""
        self._owed += self._share
        hashed = (conversation & (2**64 - 1)) / 2**64 < self._share
        side = self._moved.get(conversation, hashed)
        if begins:
            if side and self._owed - 1 < -SLACK:
                side = False
            elif not side and self._owed > SLACK:
                side = True
            self._remember(conversation, moved=side != hashed, side=side)
        self._owed -= side
        return side

    def _remember(self, conversation: int, *, moved: bool, side: bool) -> None:
        if moved:
            self._moved[conversation] = side
            self._moved.move_to_end(conversation)
            if len(self._moved) > REMEMBERED:
                self._moved.popitem(last=False)
        else:
            self._moved.pop(conversation, None)
