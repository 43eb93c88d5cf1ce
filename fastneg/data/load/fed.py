"""A DALI pipeline that is given some batches ahead of the one that it returns."""

from __future__ import annotations

from collections import deque


class FedPipeline:
    """Runs a pipeline on batches in the order in which they are given.

    DALI's first run takes as many batches as its queue is deep, so it waits until these are there.
    Where fewer are given before the first is taken, the last one stands in for those that lack, and
    its further outputs are passed over.

    Args:
        pipe: built DALI pipeline, all of whose inputs are external sources.
        depth: its prefetch_queue_depth.
    """

    def __init__(self, pipe, depth):
        self._pipe, self._depth = pipe, depth
        self._begun, self._last = False, None
        # Of the batches that DALI holds, in their order: None, or the inputs of one that only
        # stands in. DALI may read these in place.
        self._spare = deque()

    def run(self, inputs):
        """Begin a batch, {name of an input: values}; waits for nothing.

        The caller keeps what DALI reads in place until the outputs are there.
        """
        self._feed(inputs, None)
        self._last = None if self._begun else inputs

    def outputs(self):
        """The outputs of the oldest batch that was not taken; waits for them.

        Raises:
            RuntimeError: DALI could not make a batch; the pipeline is dead.
        """
        while not self._begun:
            self._feed(self._last, self._last)
        self._last = None
        while self._spare.popleft() is not None:
            self._pipe.outputs()
        return self._pipe.outputs()

    def _feed(self, inputs, spare):
        for name, values in inputs.items():
            self._pipe.feed_input(name, values)
        self._spare.append(spare)
        self._begun = self._begun or len(self._spare) == self._depth
        if self._begun:
            self._pipe.schedule_run()
