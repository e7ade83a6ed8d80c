"""products.tasks.send_daily_report on a real PostgreSQL: which day it counts, what stands in it, who gets it."""
import csv
import datetime
import glob
import io
import json
import os
import unittest
from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

from integration.shop.case import ShopCase
from support.servers import CELERIAC, ROOT, Daemon, wait_until

TASK = "send_daily_report"
ODD_NAME = 'Kabel "Ü", 5 m; rot\nlang'


class Reports(ShopCase):
    def setUp(self):
        super().setUp()
        self.sql('TRUNCATE shop.category, shop.product, shop.customer, shop."order", shop.payment RESTART IDENTITY CASCADE')
        self.sql("INSERT INTO shop.category (name, slug) VALUES ('Books', 'books')")
        self.sql("INSERT INTO shop.customer (name, email) VALUES ('Ann', 'ann@example.com')")
        for path in glob.glob(os.path.join(self.folder, "mails", "*")):
            os.unlink(path)

    def product(self, name, price="1.00", stock=100):
        return self.one("INSERT INTO shop.product (category_id, name, slug, price, received, stock)"
                        " VALUES (1, %s, 'p' || (SELECT count(*) FROM shop.product), %s, %s, %s) RETURNING id",
                        name, price, stock, stock)

    def sold(self, moment, *items, status="processed"):
        """An order of (product, quantity) pairs that was paid at that moment."""
        order = self.one('INSERT INTO shop."order" (customer_id, total, status, processed_at) VALUES (1, 0, %s, %s)'
                         " RETURNING id", status, moment)
        for product, quantity in items:
            self.sql("INSERT INTO shop.order_item (order_id, product_id, quantity, unit_price)"
                     " SELECT %s, id, %s, price FROM shop.product WHERE id = %s", order, quantity, product)
        self.sql('UPDATE shop."order" SET total = (SELECT sum(quantity * unit_price) FROM shop.order_item'
                 " WHERE order_id = %s) WHERE id = %s", order, order)
        self.sql('INSERT INTO shop.payment (order_id, amount, reference) SELECT id, total, id FROM shop."order"'
                 " WHERE id = %s", order)

    def report(self, *words):
        """The result and the mail of a report."""
        task_id = self.call(TASK, *words)
        document = self.ended(task_id)
        self.assertEqual(document["status"], "SUCCESS", document)
        with open(os.path.join(self.folder, "mails", task_id + ".eml"), "rb") as file:
            return document["result"], message_from_bytes(file.read(), policy=policy.default)

    @staticmethod
    def text(mail):
        return mail.get_body().get_content().replace("\r\n", "\n")

    def test_the_report_has_the_figures_of_the_day_and_a_table_for_programs(self):
        self.work()
        one, two, three = self.product("Eins", "10.10"), self.product(ODD_NAME, "0.35"), self.product("Never sold")
        self.sold("2024-02-29 10:00+00", (one, 1), (two, 7))
        self.sold("2024-02-29 11:00+00", (two, 3), status="shipped")
        self.sold("2024-02-28 11:00+00", (three, 50))
        result, mail = self.report("2024-02-29")
        self.assertEqual(result, {"day": "2024-02-29", "orders": 2, "revenue": "13.60"})
        self.assertEqual(mail["Subject"], "Daily report 2024-02-29")
        self.assertEqual(mail["To"], "owner@example.com, office@example.com")
        self.assertEqual(mail["From"], "shop@example.com")
        text = self.text(mail)
        self.assertIn("Report for 2024-02-29 (UTC)\n\nOrders processed: 2\nRevenue:          13.60\n", text)
        self.assertIn("Top products\n      10          3.50  " + ODD_NAME, text)
        (attachment,) = mail.iter_attachments()
        self.assertEqual((attachment.get_filename(), attachment.get_content_type()),
                         ("top-products-2024-02-29.csv", "text/csv"))
        raw = attachment.get_payload(decode=True)
        self.assertEqual(raw, b'product,sold,revenue\r\n"Kabel ""\xc3\x9c"", 5 m; rot\r\nlang",10,3.50\r\n"Eins",1,10.10\r\n')
        rows = list(csv.reader(io.StringIO(raw.decode(), newline="")))
        self.assertEqual(rows, [["product", "sold", "revenue"], [ODD_NAME.replace("\n", "\r\n"), "10", "3.50"],
                                ["Eins", "1", "10.10"]])

    def test_without_a_day_it_is_yesterday_in_the_zone_of_the_setting(self):
        product = self.product("Eins", "1.00")
        # two zones in which it is never the same day
        zones = ("Pacific/Kiritimati", "Etc/GMT+12")
        days = []
        for zone in zones:
            with self.worker(report_timezone=zone), self.subTest(zone):
                before, (result, mail), after = self.yesterday(zone), self.report(), self.yesterday(zone)
                self.assertIn(result["day"], (before, after))
                self.assertIn(f"Report for {result['day']} ({zone})", self.text(mail))
                days.append(result["day"])
        self.assertNotEqual(*days)
        with self.worker(report_timezone=zones[0]):
            noon = datetime.datetime.fromisoformat(days[0] + " 12:00").replace(tzinfo=ZoneInfo(zones[0]))
            self.sold(noon, (product, 3))
            self.assertEqual(self.report(days[0])[0]["revenue"], "3.00")

    @staticmethod
    def yesterday(zone):
        return str(datetime.datetime.now(ZoneInfo(zone)).date() - datetime.timedelta(days=1))

    def test_a_day_goes_from_midnight_to_midnight_of_its_zone_also_when_clocks_change(self):
        """In Berlin 2024-03-31 has 23 hours, from 23:00 to 22:00 UTC, and 2024-10-27 has 25."""
        product = self.product("Eins", "1.00")
        for first, behind in (("2024-03-30 23:00:00", "2024-03-31 22:00:00"),
                              ("2024-10-26 22:00:00", "2024-10-27 23:00:00")):
            self.sold(first + "+00", (product, 1))
            self.sold(behind + "+00", (product, 10))
            for moment, quantity in ((first, 100), (behind, 1000)):  # a microsecond earlier
                self.sold(self.one("SELECT %s::timestamptz - interval '1 microsecond'", moment + "+00"), (product, quantity))
        self.work(report_timezone="Europe/Berlin")
        self.assertEqual(self.report("2024-03-31")[0]["revenue"], "1001.00")
        self.assertEqual(self.report("2024-10-27")[0]["revenue"], "1001.00")
        self.assertEqual(self.report("2024-03-30")[0]["revenue"], "100.00")
        self.assertEqual(self.report("2024-10-28")[0]["revenue"], "10.00")

    def test_top_products_are_the_ten_most_sold(self):
        self.work()
        products = [self.product(f"Product {n:02}") for n in range(12)]
        for n, product in enumerate(products):
            self.sold("2024-02-29 10:00+00", (product, 1 + n // 2))
        _, mail = self.report("2024-02-29")
        (attachment,) = mail.iter_attachments()
        rows = list(csv.DictReader(io.StringIO(attachment.get_payload(decode=True).decode())))
        self.assertEqual([row["product"] for row in rows],
                         [f"Product {n:02}" for n in (10, 11, 8, 9, 6, 7, 4, 5, 2, 3)])
        self.assertEqual([row["sold"] for row in rows], ["6", "6", "5", "5", "4", "4", "3", "3", "2", "2"])

    def test_low_stock_lists_what_is_below_the_setting_and_says_how_much_more_there_is(self):
        for n in range(22):
            self.product(f"Low {n:02}", stock=n % 3)
        self.product("Enough", stock=3)
        with self.worker(low_stock=3):
            text = self.text(self.report("2024-02-29")[1])
        listed = text[text.index("Low stock"):].splitlines()
        self.assertEqual(listed[0], "Low stock (below 3): 22 products")
        self.assertEqual(len(listed), 22)
        self.assertEqual((listed[1], listed[20], listed[21]), ("       0  Low 00", "       2  Low 14", "  and 2 more"))
        self.assertNotIn("Enough", text)
        with self.worker(low_stock=0):
            self.assertTrue(self.text(self.report("2024-02-29")[1]).endswith("Low stock (below 0): 0 products\n"))

    def test_an_empty_day_is_reported_too(self):
        self.work()
        result, mail = self.report("2024-02-29T00:00:00")  # as old Celery writes a date
        self.assertEqual(result, {"day": "2024-02-29", "orders": 0, "revenue": "0.00"})
        (attachment,) = mail.iter_attachments()
        self.assertEqual(attachment.get_payload(decode=True), b"product,sold,revenue\r\n")

    def test_beat_s_entry_sends_the_report(self):
        """The entry of the example configuration, due every second instead of at nine."""
        with open(os.path.join(ROOT, "systemd", "celeriac.ini.example")) as file:
            example = file.read()
        begin = example.index("[beat daily-report]")
        entry = example[begin:example.index("\n[", begin)]
        self.assertIn("\ncrontab = 0 9 * * *\n", entry)
        path = os.path.join(self.folder, "beat.ini")
        with open(path, "w") as file:
            file.write(entry.replace("crontab = 0 9 * * *", "every = 1s").replace("timezone", "#timezone"))
        self.work()
        with Daemon([CELERIAC, "beat", "-b", self.redis.url, "--config", path], self.folder, "beat"):
            wait_until(lambda: glob.glob(os.path.join(self.folder, "mails", "*.eml")), 10, "a report")

    def test_what_cannot_be_reported_is_said(self):
        self.product("Eins")
        day = 'ValueError: day: "%s" is not a date like 2024-02-29'
        for settings, words, expected in (
                ({}, ["2024-02-30"], day % "2024-02-30"),
                ({}, ["yesterday"], day % "yesterday"),
                ({}, ["infinity"], day % "infinity"),
                ({}, ["2024-02-29T12:00:00"], day % "2024-02-29T12:00:00"),
                ({}, ["2024-02-299"], day % "2024-02-299"),
                ({}, [""], day % ""),
                ({}, [20240229], "TypeError: send_daily_report() argument 'day' must be text, not integer"),
                ({"report_timezone": "Mars/Base"}, [],
                 'ValueError: setting report_timezone: PostgreSQL knows no zone "Mars/Base"'),
                ({"report_timezone": "Mars/Base"}, ["2024-02-29"],
                 'ValueError: setting report_timezone: PostgreSQL knows no zone "Mars/Base"'),
                ({"low_stock": "few"}, [], 'ValueError: setting low_stock: "few" is not a whole number from 0 to 2147483647'),
                ({"report_recipients": "a@example.com b@example.com"}, [],
                 'ValueError: setting report_recipients: "a@example.com b@example.com" is not an address'),
                ({"report_recipients": " , ,"}, [], "ValueError: setting report_recipients: there is no recipient"),
                ({"report_recipients": ",".join(["a@example.com"] * 101)}, [],
                 "ValueError: setting report_recipients: 101 addresses, at most 100")):
            with self.subTest(expected), self.worker(**settings):
                self.assertEqual(": ".join(self.fails(TASK, "--args", json.dumps(words))), expected)
        self.assertEqual(glob.glob(os.path.join(self.folder, "mails", "*")), [])


if __name__ == "__main__":
    unittest.main()
