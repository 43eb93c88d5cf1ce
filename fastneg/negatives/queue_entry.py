"""Random keys of the queue as negatives, a control. They are drawn in `queue_entry_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register


@register
class QueueEntry(Negative):
    name = "queue_entry"
    about = "a random key of the queue: a control"
    from_queue = True
