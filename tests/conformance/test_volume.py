"""Many tasks: each within seconds."""
import concurrent.futures
import time

from celery import chord, group

from conformance.rig import Case

MANY = 1000
LIMIT = 120  # seconds, on a busy machine; on an idle one each takes less than ten


class Many(Case):
    def test_a_group_of_a_thousand(self):
        result = group(self.tasks.add.s(i, i) for i in range(MANY)).apply_async()
        self.assertEqual(self.get(result, LIMIT), [2 * i for i in range(MANY)])

    def test_a_chord_of_a_thousand(self):
        result = chord(self.tasks.identity.s(i) for i in range(MANY))(self.tasks.tsum.s())
        self.assertEqual(self.get(result, LIMIT), sum(range(MANY)))

    def test_a_chord_of_a_thousand_keeps_its_order(self):
        result = chord(self.tasks.identity.s(i) for i in range(MANY))(self.tasks.identity.s())
        self.assertEqual(self.get(result, LIMIT), list(range(MANY)))

    def test_a_chain_of_many(self):
        canvas = self.tasks.identity.s(0)
        for _ in range(60):
            canvas |= self.tasks.add.s(1)
        self.gets(canvas, 60)

    def test_twenty_clients(self):
        """Each sends 120 calls and waits for all of them."""
        def client(number):
            results = [self.tasks.add.delay(number, i) for i in range(120)]
            end = time.monotonic() + LIMIT
            return [result.get(timeout=end - time.monotonic()) for result in results]

        with concurrent.futures.ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(client, range(20)))
        self.assertEqual(answers, [[number + i for i in range(120)] for number in range(20)])
