"""products.tasks.process_order on a real PostgreSQL: whatever happens, an order is processed as a whole or not at all."""
import datetime
import glob
import os
import re
import unittest
from decimal import Decimal
from email import message_from_bytes, policy

from integration.shop.case import ShopCase
from support import shop
from support.servers import wait_until

TASK = "process_order"


class Orders(ShopCase):
    """Products 1 (10.50 each, 10 units) and 2 (0.99, 3 units); orders are added by each test."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.check_rules)
        self.sql('TRUNCATE shop.category, shop.product, shop.customer, shop."order", shop.payment RESTART IDENTITY CASCADE')
        self.sql("INSERT INTO shop.category (name, slug) VALUES ('Books', 'books')")
        self.sql("INSERT INTO shop.product (category_id, name, slug, price, received, stock)"
                 " VALUES (1, 'One', 'one', 10.50, 10, 10), (1, 'Two', 'two', 0.99, 3, 3)")
        self.sql("INSERT INTO shop.customer (name, email) VALUES ('Ann', 'ann@example.com')")
        for path in glob.glob(os.path.join(self.folder, "mails", "*")):
            os.unlink(path)

    def check_rules(self):
        self.assertEqual(shop.broken_rules(self.postgres), [])

    def order(self, *items, status="pending"):
        """A new order of (product, quantity) pairs, at the prices of today."""
        made = self.one('INSERT INTO shop."order" (customer_id, total, status) VALUES (1, 0, %s) RETURNING id', status)
        for product, quantity in items:
            self.sql("INSERT INTO shop.order_item (order_id, product_id, quantity, unit_price)"
                     " SELECT %s, id, %s, price FROM shop.product WHERE id = %s", made, quantity, product)
        self.sql('UPDATE shop."order" o SET total = (SELECT coalesce(sum(quantity * unit_price), 0)'
                 " FROM shop.order_item WHERE order_id = o.id) WHERE id = %s", made)
        return str(made)

    def state(self, order):
        return self.sql('SELECT status, reason FROM shop."order" WHERE id = %s', order)[0]

    def stock(self):
        return [units for units, in self.sql("SELECT stock FROM shop.product ORDER BY id")]

    def payments(self):
        return self.sql("SELECT order_id, amount, reference FROM shop.payment ORDER BY order_id")

    def mails(self):
        found = []
        for path in glob.glob(os.path.join(self.folder, "mails", "*.eml")):
            with open(path, "rb") as file:
                found.append(message_from_bytes(file.read(), policy=policy.default))
        return found

    def quiet(self):
        """Waits until nothing waits or runs any more."""
        wait_until(lambda: not self.client.keys("celery") and not self.client.keys("celeriac:inflight:*"), 10, "quiet")

    def untouched(self, order):
        self.quiet()
        self.assertEqual((self.state(order), self.stock(), self.payments(), self.mails()),
                         (("pending", None), [10, 3], [], []))

    # --- the ways an order goes

    def test_an_order_is_paid_taken_from_stock_and_confirmed(self):
        self.work()
        order = self.order((1, 2), (2, 3))
        self.assertEqual(self.returns(TASK, order),
                         {"order_id": int(order), "status": "processed", "total": "23.97", "attempts": 1})
        self.assertEqual((self.state(order), self.stock()), (("processed", None), [8, 0]))
        ((paid, amount, reference),) = self.payments()
        self.assertEqual((paid, amount), (int(order), Decimal("23.97")))
        self.assertTrue(reference.startswith(f"pay-{order}-"), reference)
        (mail,) = wait_until(self.mails, 10, "the confirmation")
        self.assertEqual((mail["To"], mail["Subject"]), ("ann@example.com", f"Your order {order}"))
        self.assertIn("23.97", mail.get_content())

    def test_a_second_delivery_of_a_processed_order_changes_nothing(self):
        self.work()
        order = self.order((1, 1))
        first = self.returns(TASK, order)
        wait_until(self.mails, 10, "the confirmation")
        rows = 'SELECT o.xmin::text, o FROM shop."order" o'
        before = self.sql(rows), self.stock(), self.payments()
        self.assertEqual(self.returns(TASK, order), first)
        self.quiet()
        self.assertEqual((self.sql(rows), self.stock(), self.payments()), before)
        self.assertEqual(len(self.mails()), 1)

    def test_an_order_that_is_beyond_processing_stays_as_it_is(self):
        self.work()
        for status in ("shipped", "delivered"):
            order = self.order((1, 1))
            self.returns(TASK, order)
            self.sql('UPDATE shop."order" SET status = %s WHERE id = %s', status, order)
            self.assertEqual(self.returns(TASK, order)["status"], status)
            self.assertEqual(self.state(order), (status, None))
        reason = "the customer thought better of it: " + "ü" * 300
        order = self.order((1, 1))
        self.sql("UPDATE shop.\"order\" SET status = 'cancelled', reason = %s WHERE id = %s", reason, order)
        result = self.returns(TASK, order)
        self.assertEqual(result["status"], "cancelled")
        self.assertTrue(reason.startswith(result["reason"]))
        self.assertEqual(self.state(order), ("cancelled", reason))

    def test_too_little_stock_cancels_with_a_reason_and_takes_nothing(self):
        self.work()
        order = self.order((1, 2), (2, 4))
        reason = "insufficient stock: two has 3, 4 wanted"
        self.assertEqual(self.returns(TASK, order), {"order_id": int(order), "status": "cancelled", "total": "24.96",
                                                     "attempts": 1, "reason": reason})
        self.quiet()
        self.assertEqual((self.state(order), self.stock(), self.payments(), self.mails()),
                         (("cancelled", reason), [10, 3], [], []))

    def test_a_declined_payment_cancels_and_puts_the_goods_back(self):
        self.work(gateway_decline_percent=100)
        order = self.order((1, 2), (2, 3))
        self.assertEqual(self.returns(TASK, order)["reason"], "payment declined")
        self.quiet()
        self.assertEqual((self.state(order), self.stock(), self.payments(), self.mails()),
                         (("cancelled", "payment declined"), [10, 3], [], []))

    def test_an_order_that_does_not_exist_fails_by_name(self):
        self.work()
        order = self.order((1, 1))
        name = "process_order() "
        for words, expected in ((["4711"], ("LookupError", "order 4711 does not exist")),
                                (["-1"], ("LookupError", "order -1 does not exist")),
                                (['"1"'], ("TypeError", name + "argument 'order_id' must be an integer, not text")),
                                (["1.0"], ("TypeError", name + "argument 'order_id' must be an integer, not float")),
                                ([], ("TypeError", name + "missing 1 required positional argument: 'order_id'"))):
            with self.subTest(words):
                self.assertEqual(self.fails(TASK, *words), expected)
        self.untouched(order)

    # --- a gateway that is busy

    def test_a_busy_gateway_is_tried_again_after_a_minute(self):
        worker = self.work(gateway_busy_percent=100)
        order = self.order((1, 1))
        task_id = self.call(TASK, order)
        wait_until(lambda: self.stored(task_id)["status"] == "RETRY", 10, "a retry")
        self.assertEqual(self.failure(self.stored(task_id)), ("Retry", "the payment gateway is busy"))
        self.assertAlmostEqual(self.retry_delay(worker), 60, delta=1)
        self.untouched(order)

    @staticmethod
    def retry_delay(worker):
        """Seconds from the log's first line about a retry to its due time."""
        line = wait_until(lambda: re.search(r'time=(\S+) .*msg="Task retry" .*due=(\S+) ', worker.text()), 5, "the line")
        now, due = map(datetime.datetime.fromisoformat, line.groups())
        return (due - now).total_seconds()

    def test_retries_that_are_used_up_fail_with_the_last_reason(self):
        worker = self.work(gateway_busy_percent=100, order_retry_ms=20)
        order = self.order((1, 1))
        self.assertEqual(self.fails(TASK, order), ("MaxRetriesExceededError", "the payment gateway is busy"))
        worker.says('msg="Task retry"', 3)
        self.untouched(order)

    def test_a_gateway_that_is_often_busy_is_paid_in_the_end(self):
        self.work(gateway_busy_percent=50, order_retry_ms=10)
        self.sql("UPDATE shop.product SET received = 1000, stock = 1000")
        orders = [self.order((1, 1), (2, 1)) for _ in range(60)]
        tasks = {order: self.call(TASK, order) for order in orders}
        attempts = []
        for order, task_id in tasks.items():
            document = self.ended(task_id)
            if document["status"] == "SUCCESS":
                attempts.append(document["result"]["attempts"])
                self.assertEqual(self.state(order), ("processed", None))
            else:
                self.assertEqual(self.failure(document), ("MaxRetriesExceededError", "the payment gateway is busy"))
                self.assertEqual(self.state(order), ("pending", None))
        self.assertEqual(set(attempts), {1, 2, 3, 4})
        self.assertLess(len(attempts), len(orders))  # some were out of luck
        self.assertEqual(len(self.payments()), len(attempts))
        wait_until(lambda: len(self.mails()) == len(attempts), 10, "one mail for each payment")

    # --- commits that fail, processes that die

    def refuse_commits(self, sqlstate, times):
        """The first `times` transactions with a payment fail at the very end."""
        self.addCleanup(self.sql, "DROP FUNCTION refuse() CASCADE; DROP SEQUENCE refusals")
        self.sql(f"""
            CREATE SEQUENCE refusals;
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('refusals') <= {times} THEN
                    RAISE EXCEPTION 'refused at commit' USING ERRCODE = '{sqlstate}';
                END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON shop.payment DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION refuse()""")

    def test_a_commit_that_fails_leaves_no_trace_and_sends_no_mail(self):
        self.work()
        order = self.order((1, 1))
        self.refuse_commits("23514", 1)
        kind, text = self.fails(TASK, order)
        self.assertEqual(kind, "IntegrityError")
        self.assertIn("refused at commit", text)
        self.untouched(order)

    def test_a_commit_that_fails_for_the_moment_is_retried_and_confirmed_once(self):
        worker = self.work()
        order = self.order((1, 1))
        self.refuse_commits("40001", 2)
        self.assertEqual(self.returns(TASK, order)["attempts"], 1)  # conflicts do not count
        self.assertEqual(len(re.findall(r'msg="Task retry" .*refused at commit', worker.text())), 2)
        wait_until(self.mails, 10, "the confirmation")
        self.quiet()
        self.assertEqual((self.stock(), len(self.payments()), len(self.mails())), ([9, 3], 1, 1))

    def test_an_order_whose_process_is_killed_in_the_middle_is_processed_by_another(self):
        worker = self.work()
        order = self.order((1, 1))
        other = self.transaction("SELECT FROM shop.product WHERE id = 1 FOR UPDATE")
        task_id = self.call(TASK, order)
        self.wait_for_waiting(1)
        self.kill_children(worker)
        wait_until(lambda: "delivered again" in worker.text(), 10, "the death is noticed")
        other.rollback()
        self.assertEqual(self.ended(task_id)["result"]["status"], "processed")
        self.assertEqual((self.stock(), len(self.payments())), ([9, 3], 1))

    # --- two at once

    def test_two_deliveries_of_an_order_at_once_process_it_once(self):
        self.work()
        order = self.order((1, 1))
        other = self.transaction('SELECT FROM shop."order" WHERE id = %s FOR UPDATE', order)
        tasks = [self.call(TASK, order), self.call(TASK, order)]
        self.wait_for_waiting(2)
        other.rollback()
        results = [self.ended(task_id)["result"] for task_id in tasks]
        self.assertEqual(results[0], results[1])
        wait_until(self.mails, 10, "the confirmation")
        self.quiet()
        self.assertEqual((self.stock(), len(self.payments()), len(self.mails())), ([9, 3], 1, 1))

    def test_of_two_orders_for_the_last_unit_one_is_cancelled(self):
        self.work()
        self.sql("UPDATE shop.product SET received = 1, stock = 1 WHERE id = 1")
        orders = [self.order((1, 1)), self.order((1, 1))]
        other = self.transaction("SELECT FROM shop.product WHERE id = 1 FOR UPDATE")
        tasks = [self.call(TASK, order) for order in orders]
        self.wait_for_waiting(2)
        other.rollback()
        ends = sorted((self.ended(task_id)["result"] for task_id in tasks), key=lambda end: end["status"])
        self.assertEqual([end["status"] for end in ends], ["cancelled", "processed"])
        self.assertEqual(ends[0]["reason"], "insufficient stock: one has 0, 1 wanted")
        self.assertEqual((self.stock(), len(self.payments())), ([0, 3], 1))

    def test_goods_are_locked_in_the_order_of_their_ids_so_that_no_two_orders_block_each_other(self):
        self.work()
        for items in [((1, 1), (2, 1)), ((2, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 2), (2, 1))] * 2:
            self.sql("UPDATE shop.product SET received = received + 10, stock = stock + 10")
            order = self.order(*items)
            other = self.transaction("SELECT FROM shop.product WHERE id = 1 FOR UPDATE")
            task_id = self.call(TASK, order)
            self.wait_for_waiting(1)
            self.sql("SELECT FROM shop.product WHERE id = 2 FOR UPDATE NOWAIT")  # it holds nothing while it waits for 1
            other.rollback()
            self.assertEqual(self.ended(task_id)["result"]["status"], "processed")


if __name__ == "__main__":
    unittest.main()
