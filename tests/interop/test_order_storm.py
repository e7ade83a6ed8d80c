"""10,000 calls from Python over 500 orders, many of them doubled, with a gateway that often fails: afterwards every
rule of the shop holds exactly, and no task is unaccounted for."""
import json
import os
import random
import unittest
from collections import Counter

from support import shop
from support.servers import PostgresServer, RedisServer, celeriac, temporary_folder, wait_until

CALLS = 10_000
ORDERS = 500


class OrderStorm(unittest.TestCase):
    def test_stock_payments_and_states_add_up(self):
        with temporary_folder("celeriac-storm-") as folder, RedisServer(folder) as redis, \
                PostgresServer(folder) as postgres:
            shop.prepare(postgres)
            ids = self.enqueue(redis.url)
            with shop.worker(redis, postgres, folder, "-c", "4", "-l", "warning", gateway_busy_percent=20,
                             order_retry_ms=200):
                connection = redis.client()

                def finished():
                    states = Counter()
                    for start in range(0, len(ids), 1000):
                        for document in connection.mget("celery-task-meta-" + one for one in ids[start:start + 1000]):
                            states[json.loads(document)["status"] if document else "PENDING"] += 1
                    self.states = states
                    return states["SUCCESS"] + states["FAILURE"] == CALLS

                wait_until(finished, 240, "all tasks have ended", 0.5)
            self.check(redis, postgres, len(os.listdir(os.path.join(folder, "mails"))))

    @staticmethod
    def enqueue(url):
        os.environ.update(CELERY_BROKER_URL=url, CELERY_RESULT_BACKEND=url)
        from celery import Celery

        app = Celery(broker=url, backend=url)
        chance = random.Random(1)
        with app.producer_pool.acquire() as producer:
            return [app.send_task("products.tasks.process_order", [chance.randint(1, ORDERS)], producer=producer).id
                    for _ in range(CALLS)]

    def check(self, redis, postgres, mails):
        self.assertEqual(shop.broken_rules(postgres), [])
        with postgres.connect() as connection, connection.cursor() as cursor:
            cursor.execute('SELECT status, count(*) FROM shop."order" GROUP BY status')
            orders = dict(cursor.fetchall())
            cursor.execute("SELECT count(*), sum(amount) FROM shop.payment")
            payments, taken = cursor.fetchone()
            cursor.execute("SELECT sum(total) FROM shop.\"order\" WHERE status = 'processed'")
            self.assertEqual(taken, cursor.fetchone()[0])
        self.assertEqual(payments, orders["processed"])
        self.assertEqual(sum(orders.values()), ORDERS)
        self.assertEqual(sum(self.states.values()), CALLS)
        # Of each order that was processed one mail was written or waits in the queue; nothing else is left.
        queues = json.loads(celeriac("queues", "--json", redis=redis, check=True).stdout)
        left = {name: sum(queue[name] for queue in queues) for name in ("waiting", "in_flight", "delayed", "dead")}
        self.assertEqual((left["in_flight"], left["delayed"], left["dead"]), (0, 0, 0))
        self.assertEqual(mails + left["waiting"], orders["processed"])
        print(f"\ntasks {dict(self.states)}, orders {orders}, payments {payments} = {taken}, mails {mails}, left {left}")


if __name__ == "__main__":
    unittest.main()
