"""products.tasks.update_product_prices on a real PostgreSQL. What a price becomes is worked out a second time, by Python's
decimal."""
import json
import os
import unittest
from decimal import ROUND_HALF_UP, Decimal

from integration.shop.case import ShopCase
from support.servers import celeriac, wait_until

TASK = "update_product_prices"
CHUNK = 200


def raised(price, percentage):
    exact = price * (100 + Decimal(percentage)) / 100
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


class Prices(ShopCase):
    def setUp(self):
        super().setUp()
        self.sql("TRUNCATE shop.category, shop.product, shop.price_change RESTART IDENTITY CASCADE")
        self.sql("INSERT INTO shop.category (name, slug) VALUES ('Electronics', 'electronics'), ('Books', 'books')")

    def stock(self, prices, category=1):
        """Products with these prices."""
        self.sql("INSERT INTO shop.product (category_id, name, slug, price)"
                 " SELECT %s, format('P%%s-%%s', %s, n), format('p%%s-%%s', %s, n), price"
                 " FROM unnest(%s) WITH ORDINALITY AS given (price, n)",
                 category, category, category, [Decimal(price) for price in prices])

    def prices(self, category=1):
        return [price for price, in self.sql("SELECT price FROM shop.product WHERE category_id = %s ORDER BY id", category)]

    def audit(self, run):
        return self.sql("SELECT product_id, old_price, new_price FROM shop.price_change WHERE run = %s ORDER BY 1", run)

    def rows(self):
        """Every version of every row that the task may touch."""
        return self.sql("SELECT xmin::text, p FROM shop.product p ORDER BY id"), \
            self.sql("SELECT xmin::text, c FROM shop.price_change c ORDER BY 1, 2")

    def hold(self, product):
        return self.transaction("SELECT FROM shop.product WHERE id = %s FOR UPDATE", product)

    # --- arithmetic

    ODD = ["0.00", "0.01", "0.05", "0.09", "0.10", "1.00", "9.99", "10.01", "10.05", "33.33", "99.95", "249.99", "1234567.89"]

    def test_prices_are_rounded_to_cents_whatever_kind_of_number_the_percentage_is(self):
        self.work()
        given = [Decimal(price) for price in self.ODD]
        words = ("5", "-5", "0", "7.5", "0.1", "-12.5", "2.675", "33.333333333333333333333", '"12.5"', '"-0.005"', "1e2",
                 '"1e-3"', "1000", "-99.999", '{"__type__": "decimal", "__value__": "2.5"}')
        for word in words:
            with self.subTest(word):
                self.sql("TRUNCATE shop.product CASCADE")
                self.stock(self.ODD)
                value = json.loads(word, parse_float=Decimal)
                percentage = value["__value__"] if isinstance(value, dict) else value
                if word.startswith("33.3"):  # a JSON number is a double
                    percentage = repr(float(word))
                expected = [raised(price, percentage) for price in given]
                result = self.returns(TASK, word)
                self.assertEqual(self.prices(), expected)
                changed = [(old, new) for old, new in zip(given, expected) if old != new]
                self.assertEqual(result, {"count": len(changed), "dry_run": False,
                                          "old_total": str(sum((old for old, _ in changed), Decimal("0.00"))),
                                          "new_total": str(sum((new for _, new in changed), Decimal("0.00")))})

    def test_each_changed_price_has_its_row_in_the_audit_and_no_other(self):
        self.work()
        self.stock(self.ODD)
        ids = [product for product, in self.sql("SELECT id FROM shop.product ORDER BY id")]
        before = self.prices()
        run = self.call(TASK, "10")
        self.ended(run)
        expected = [(product, old, raised(old, 10)) for product, old in zip(ids, before) if raised(old, 10) != old]
        self.assertEqual(self.audit(run), expected)
        self.assertLess(len(expected), len(ids))
        self.assertEqual(self.one("SELECT count(*) FROM shop.price_change"), len(expected))
        untouched = "SELECT count(*) FROM shop.product WHERE updated_at = created_at"
        self.assertEqual(self.one(untouched), len(ids) - len(expected))

    def test_a_category_is_the_only_one_that_changes(self):
        self.work()
        self.stock(["10.00", "20.00"], category=1)
        self.stock(["10.00", "20.00"], category=2)
        self.assertEqual(self.returns(TASK, "5", "books")["count"], 2)
        self.assertEqual((self.prices(1), self.prices(2)),
                         ([Decimal("10.00"), Decimal("20.00")], [Decimal("10.50"), Decimal("21.00")]))
        self.assertEqual(self.returns(TASK)["count"], 4)  # by default 5 percent, all of them
        self.assertEqual((self.prices(1), self.prices(2)),
                         ([Decimal("10.50"), Decimal("21.00")], [Decimal("11.03"), Decimal("22.05")]))

    def test_a_dry_run_tells_what_the_run_would_do_and_changes_nothing(self):
        self.work()
        self.stock(self.ODD)
        before = self.rows()
        words = ["--percentage", "15", "--category", "electronics"]
        told = self.returns(TASK, *words, "--dry-run")
        self.assertEqual(self.rows(), before)
        self.assertEqual(self.returns(TASK, *words), {**told, "dry_run": False})
        self.assertEqual((told["count"], told["dry_run"]), (len(self.ODD) - 2, True))

    def test_the_command_line_takes_keywords_as_flags(self):
        self.work()
        self.stock(["10.00", "20.00", "0.03"])
        done = celeriac("call", "products.tasks.update_product_prices", "--percentage", "15", "--category", "electronics",
                        "--dry-run", "--wait", redis=self.redis)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout),
                         {"count": 2, "old_total": "30.00", "new_total": "34.50", "dry_run": True})

    def test_what_cannot_be_done_is_refused_before_anything_changes(self):
        self.work()
        self.stock(["10.00", "20000000.00"])
        before = self.rows()
        name = "update_product_prices() argument "
        cases = (
            (["-100"], "ValueError: percentage: -100 is not above -100 and at most 1000"),
            (["1000.01"], "ValueError: percentage: 1000.01 is not above -100 and at most 1000"),
            (["1e300"], "ValueError: percentage: "),
            (['"five"'], f"TypeError: {name}'percentage' must be a decimal number, not text"),
            (["null"], f"TypeError: {name}'percentage' must be a decimal number, not null"),
            (["true"], f"TypeError: {name}'percentage' must be a decimal number, not boolean"),
            (["NaN"], f"TypeError: {name}'percentage' must be a decimal number, not float"),
            (["5", "gardening"], 'ValueError: category: there is none with the slug "gardening"'),
            (["5", "7"], f"TypeError: {name}'category' must be text, not integer"),
            (["5", "--dry-run", "1"], f"TypeError: {name}'dry_run' must be true or false, not integer"),
            (["400"], "ValueError: percentage: 400 would raise p1-2 above 99999999.99"),
            (["400", "--dry-run"], "ValueError: percentage: 400 would raise p1-2 above 99999999.99"),
            (["--percent", "5"], "TypeError: update_product_prices() got an unexpected keyword argument 'percent'"),
        )
        for words, expected in cases:
            with self.subTest(words):
                kind, text = self.fails(TASK, *words)
                self.assertTrue(f"{kind}: {text}".startswith(expected), f"{kind}: {text}")
        self.assertEqual(self.rows(), before)

    # --- chunks

    MANY = [str(Decimal(cents) / 100) for cents in range(1000, 1450)]  # 450: three chunks

    def assert_raised_once(self, run, percentage=10):
        given = [Decimal(price) for price in self.MANY]
        expected = [raised(price, percentage) for price in given]
        self.assertEqual(self.prices(), expected)
        self.assertEqual([row[1:] for row in self.audit(run)], list(zip(given, expected)))

    def assert_totals(self, document, percentage=10):
        given = [Decimal(price) for price in self.MANY]
        self.assertEqual(document["status"], "SUCCESS", document)
        self.assertEqual(document["result"], {"count": len(given), "old_total": str(sum(given)), "dry_run": False,
                                              "new_total": str(sum(raised(price, percentage) for price in given))})

    def test_each_chunk_is_a_short_transaction_of_its_own(self):
        self.work()
        self.stock(self.MANY)
        other = self.hold(300)
        run = self.call(TASK, "10")
        self.wait_for_waiting(1)
        self.assertEqual(len(self.audit(run)), CHUNK)  # the first is done, for all to see
        self.sql(f"SELECT FROM shop.product WHERE id <= {CHUNK} FOR UPDATE NOWAIT")  # and nothing of it is locked
        self.sql(f"SELECT FROM shop.product WHERE id > {2 * CHUNK} FOR UPDATE NOWAIT")
        other.rollback()
        self.assert_totals(self.ended(run))
        self.assert_raised_once(run)
        chunks = self.sql("SELECT count(*) FROM shop.price_change GROUP BY xmin::text ORDER BY min(product_id)")
        self.assertEqual(chunks, [(200,), (200,), (50,)])

    def test_a_price_that_changes_meanwhile_is_raised_from_what_it_became(self):
        self.work()
        self.stock(self.MANY)
        other = self.hold(300)
        other.cursor().execute("UPDATE shop.product SET price = 77.77 WHERE id = 300")
        run = self.call(TASK, "10")
        self.wait_for_waiting(1)
        other.commit()
        self.ended(run)
        self.assertEqual(self.prices()[299], Decimal("85.55"))
        self.assertEqual(self.audit(run)[299], (300, Decimal("77.77"), Decimal("85.55")))

    def test_a_run_that_is_killed_in_the_middle_goes_on_and_raises_nothing_twice(self):
        worker = self.work()
        self.stock(self.MANY)
        other = self.hold(300)
        run = self.call(TASK, "10")
        self.wait_for_waiting(1)
        waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        first = self.one("SELECT pid " + waiting)
        self.kill_children(worker)
        # It is delivered again; the statement of the dead process goes from the server meanwhile.
        wait_until(lambda: self.one(f"SELECT count(*) {waiting} AND pid <> {first}") == 1, 20, "the second run waits")
        self.assertEqual(len(self.audit(run)), CHUNK)
        other.rollback()
        self.assert_totals(self.ended(run))
        self.assert_raised_once(run)

    def test_a_run_that_its_soft_limit_ends_goes_on_when_it_is_sent_again(self):
        self.work("--soft-time-limit", "400ms", "--time-limit", "20s")
        self.stock(self.MANY)
        other = self.hold(300)
        run = self.call(TASK, "10")
        self.assertEqual(self.failure(self.ended(run))[0], "SoftTimeLimitExceeded")
        self.assertEqual(len(self.audit(run)), CHUNK)
        other.rollback()
        self.client.delete("celery-task-meta-" + run)
        self.call(TASK, "10", "--id", run)
        self.assert_totals(self.ended(run))
        self.assert_raised_once(run)

    def test_two_deliveries_at_once_raise_each_price_once(self):
        worker = self.work()
        self.stock(self.MANY)
        other = self.hold(1)
        log_path = os.path.join(self.folder, "postgres.log")
        log_size = os.path.getsize(log_path)
        run = self.call(TASK, "10")
        self.call(TASK, "10", "--id", run)
        self.wait_for_waiting(2)
        other.rollback()
        wait_until(lambda: worker.text().count("Task succeeded") == 2, 15, "both deliveries succeed")
        self.assert_totals(self.ended(run))
        self.assert_raised_once(run)
        with open(log_path) as log:
            log.seek(log_size)
            self.assertIn("price_change_pkey", log.read())  # it was the key that held the second back

    def test_two_different_runs_at_once_both_count(self):
        worker = self.work()
        self.stock(self.MANY)
        other = self.hold(1)
        runs = [self.call(TASK, "10"), self.call(TASK, "10")]
        self.wait_for_waiting(2)
        other.rollback()
        wait_until(lambda: worker.text().count("Task succeeded") == 2, 15, "both runs succeed")
        self.assertEqual(self.prices(), [raised(raised(Decimal(price), 10), 10) for price in self.MANY])
        self.assertEqual([len(self.audit(run)) for run in runs], [len(self.MANY)] * 2)

    # --- what the tables themselves refuse

    def test_the_tables_refuse_what_no_shop_has(self):
        import psycopg2

        self.stock(["1.00"])
        product = "INSERT INTO shop.product (category_id, name, slug, price, stock) VALUES "
        order = 'INSERT INTO shop."order" (customer_id, status, total, reason, processed_at) VALUES '
        self.sql("INSERT INTO shop.customer (name, email) VALUES ('C', 'prices@example.com') ON CONFLICT DO NOTHING")
        customer = self.one("SELECT id FROM shop.customer WHERE email = 'prices@example.com'")
        for statement in (
                product + "(1, 'n', 's', -0.01, 0)", product + "(1, 'n', 's', 'NaN', 0)", product + "(1, 'n', 's', 1, -1)",
                product + "(1, 'n', 'p1-1', 1, 0)", product + "(1, 'P1-1', 's', 1, 0)", product + "(1, 'n', 'No Slug', 1, 0)",
                "UPDATE shop.product SET price = -1",
                order + f"({customer}, 'lost', 0, NULL, NULL)", order + f"({customer}, 'pending', -1, NULL, NULL)",
                order + f"({customer}, 'cancelled', 0, NULL, NULL)", order + f"({customer}, 'processed', 0, NULL, NULL)",
                order + f"({customer}, 'pending', 0, NULL, now())",
                "INSERT INTO shop.customer (name, email) VALUES ('x', 'no address')"):
            with self.subTest(statement), self.assertRaises(psycopg2.errors.IntegrityError):
                self.sql(statement)
        self.sql(product + "(2, 'P1-1', 's', 99999999.99, 0)")  # the name is free in another category


if __name__ == "__main__":
    unittest.main()
