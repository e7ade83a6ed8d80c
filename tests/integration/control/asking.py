"""Celery's own client asks our worker, and what it would have got from a Python worker."""
import json
import os
import signal

import celery

from integration.worker.calls import WorkerTest
from support.servers import ROOT, wait_until

NODE = "w1@host.example"
VECTORS = os.path.join(ROOT, "tests", "data", "wire-vectors")


def recorded(name):
    """What Celery's worker has returned: the reply of its one node."""
    with open(os.path.join(VECTORS, name + ".json")) as file:
        returned = json.load(file)["returned"]
    (reply,) = (returned[0] if isinstance(returned, list) else returned).values()
    return reply


def differences(theirs, ours, path="", extra=(), loose=()):
    """Where `ours` has another shape than `theirs`: keys, types, elements of lists. `extra` keys may be there
    in addition; those in `loose` may have any type."""
    if path in loose:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        missing = [f"{path}.{key} is missing" for key in theirs if key not in ours]
        more = [f"{path}.{key} is too much" for key in ours if key not in theirs and f"{path}.{key}" not in extra]
        both = [difference for key in theirs if key in ours
                for difference in differences(theirs[key], ours[key], f"{path}.{key}", extra, loose)]
        return missing + more + both
    if isinstance(theirs, list) and isinstance(ours, list):
        if bool(theirs) != bool(ours):
            return [f"{path} has {len(ours)} elements, not {len(theirs)}"]
        return differences(theirs[0], ours[0], path + "[]", extra, loose) if theirs else []
    numbers = (int, float)
    if type(theirs) is type(ours) or (type(theirs) in numbers and type(ours) in numbers):
        return []
    return [f"{path} is {ours!r}, not {theirs!r}"]


class AskingTest(WorkerTest):
    def setUp(self):
        super().setUp()
        self.app = self.client()

    def client(self, **settings):
        app = celery.Celery("asking", broker=self.server.url, backend=self.server.url, set_as_current=False)
        app.conf.update(settings)
        self.addCleanup(app.close)
        return app

    def start(self, *arguments, node=NODE, **options):
        """A worker that answers."""
        worker = self.worker("-n", node, *arguments, name=node.partition("@")[0], **options)
        self.addCleanup(worker.stop, signal.SIGQUIT)  # its tasks may be long ones
        wait_until(lambda: self.inspect(node, timeout=1).ping(), 20, "the node answers")
        return worker

    def inspect(self, node=NODE, timeout=10):
        return self.app.control.inspect(destination=[node], timeout=timeout, limit=1)

    def ask(self, method, node=NODE, **arguments):
        """The reply of one node to an inspect command."""
        replies = self.inspect(node)._request(method, **arguments)
        self.assertEqual(list(replies or ()), [node], f"{method} is not answered")
        return replies[node]

    def tell(self, method, node=NODE, timeout=10, **arguments):
        """The reply of one node to a control command."""
        replies = self.app.control.broadcast(method, arguments=arguments, destination=[node], reply=True,
                                             timeout=timeout, limit=1)
        self.assertEqual([list(reply) for reply in replies], [[node]], f"{method} is not answered")
        return replies[0][node]

    def assert_shape(self, name, ours, **options):
        self.assertEqual(differences(recorded(name), ours, **options), [])

    def same_reply(self, vector, method, **arguments):
        """Word for word."""
        self.assertEqual(self.tell(method, **arguments), recorded(vector))
