"""Random canvases: their results, and the marks of their callbacks, are what evaluation makes of them.

CONFORMANCE_CANVASES says how many (default 40), CONFORMANCE_SEED where they begin (default 1). tests/chaos/canvases.py
sends more of them to a mixed fleet whose workers are killed.
"""
import os
import time

from conformance.rig import Case  # first: it finds the module
from conformance.canvases import PENDING, Canvas, outcome

COUNT = int(os.environ.get("CONFORMANCE_CANVASES", "40"))
SEED = int(os.environ.get("CONFORMANCE_SEED", "1"))
LIMIT = 120


class Random(Case):
    def test_results_and_callbacks(self):
        key = self.key("marks")
        canvases = [Canvas(seed, key) for seed in range(SEED, SEED + COUNT)]
        pending = [(canvas, canvas.send()) for canvas in canvases]
        wrong, end = [], time.monotonic() + LIMIT + COUNT / 4
        while pending and time.monotonic() < end:
            later = []
            for canvas, result in pending:
                found = outcome(self.redis, result)
                if found is PENDING:
                    later.append((canvas, result))
                elif found != canvas.expected:
                    wrong.append(f"seed {canvas.seed}: {found} instead of {canvas.expected}: {canvas.tree}")
            pending = later
            time.sleep(0.05)
        wrong += [f"seed {canvas.seed} does not end, {canvas.expected} was expected: {canvas.tree}" for canvas, _ in pending]
        self.assertEqual(wrong, [])
        marks = set.union(*(canvas.marks for canvas in canvases))
        self.list_of(key, len(marks))
        self.assertEqual(set(self.redis.lrange(key, 0, -1)), marks)
