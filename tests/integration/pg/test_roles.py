"""The roles of docs/postgresql.md, made by the statements that stand there: each can do its part, and no more."""
import os
import re
import subprocess

from integration.worker.calls import WorkerTest
from integration.worker.test_result_rows import TABLE
from support.servers import BUILD, CELERIAC, ROOT, Daemon, PostgresServer, celeriac, temporary_folder, wait_until


def documented():
    """What the document has a superuser, the owner and the owner of Django's table say."""
    with open(os.path.join(ROOT, "docs", "postgresql.md")) as file:
        section = file.read().partition("\n## Roles\n")[2].partition("\n## ")[0]
    first, owner, django = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return first, owner, django


class Roles(WorkerTest):
    @classmethod
    def setUpClass(cls):
        cls.postgres = cls.enterClassContext(PostgresServer(cls.enterClassContext(temporary_folder("celeriac-roles-"))))
        first, owner, django = documented()
        cls.postgres.psql("CREATE DATABASE shop", database="postgres")
        cls.sql(first)
        cls.roles = re.findall(r"CREATE ROLE (\w+)", first)
        celeriac("migrate", "--database", cls.uri("shop_owner"), check=True)
        cls.sql(owner, user="shop_owner")
        # the superuser has the name of our schema, where its tables would be
        cls.sql(f"SET search_path = public; {TABLE}; {django}; "
                "CREATE TABLE bought (n int PRIMARY KEY); GRANT INSERT ON bought TO shop_app, shop_tasks")

    def setUp(self):
        super().setUp()
        self.sql("TRUNCATE public.bought, celeriac.outbox, celeriac.effect, celeriac.ledger")

    @classmethod
    def sql(cls, text, **options):
        return cls.postgres.sql(text, database="shop", **options)

    @classmethod
    def uri(cls, role):
        return cls.postgres.uri.replace("celeriac@/celeriac", f"{role}@/shop")

    def beat(self):
        beat = Daemon([CELERIAC, "beat", "-b", self.server.url, "--database", self.uri("shop_beat")], self.folder, "beat",
                      ready="Beat ready")
        self.addCleanup(beat.stop)
        return beat.start()

    def ledger_worker(self, detail):
        path = os.path.join(self.folder, "worker.ini")
        with open(path, "w") as file:
            file.write(f"[celeriac]\nresult_tables = {self.uri('shop_results')}\n"
                       f"[database]\ndefault = {self.uri('shop_tasks')}\nledger = {self.uri('shop_ledger')}\n"
                       f"[worker]\nledger = {detail}\nledger_database = ledger\n")
        return self.worker("-c", "1", "--config", path)

    def history(self, *arguments):
        done = celeriac("history", "--database", self.uri("shop_reader"), *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def wait_sql(self, text, answer):
        wait_until(lambda: self.sql(text) == answer, 20, f"{answer} of {text}", 0.05)

    def test_an_application_enqueues_and_the_beat_publishes(self):
        beat = self.beat()
        self.sql("SELECT celeriac.enqueue('tests.add', '[1, 2]')", user="shop_app")
        self.sql("""SELECT celeriac.enqueue_many('[{"task": "t", "options": {"queue": "many", "ordered": true}}]')""",
                 user="shop_app")
        done = subprocess.run([os.path.join(BUILD, "tests", "outbox_buyer"), self.uri("shop_app"), "0", "2", "t"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "1\n"), done.stderr)
        # what the relay cannot publish gets its reason
        self.sql("SELECT celeriac.enqueue_message('x', 'celery', 5, '{}')", user="shop_app")
        self.wait_sql("SELECT string_agg(id, ' '), count(refused) FROM celeriac.outbox", "x|1")
        self.assertEqual((self.waiting(), self.waiting("many")), (2, 1))
        self.assertNotIn("level=warning", beat.text())

    def test_the_beat_removes_old_markers(self):
        self.sql("INSERT INTO celeriac.effect SELECT 'old' || slot, slot, 't', now() - '8 days'::interval, NULL, NULL, '[]', '[]' "
                 "FROM generate_series(0, 2) AS slot")
        beat = self.beat()
        self.wait_sql("SELECT count(*) FROM celeriac.effect", "2")
        self.assertNotIn("level=warning", beat.text())

    def test_a_worker_runs_tasks_and_writes_the_ledger_and_results(self):
        worker = self.ledger_worker("full")
        id = self.send("tests.script_once", ["INSERT INTO bought VALUES (7)", "DB SEND tests.noop"])
        self.get(id)
        self.assertEqual(self.sql("SELECT task_id FROM celeriac.effect"), id)
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.outbox"), "1")
        self.wait_sql(f"SELECT outcome FROM celeriac.ledger WHERE task_id = '{id}'", "succeeded")
        self.wait_sql(f"SELECT status FROM django_celery_results_taskresult WHERE task_id = '{id}'", "SUCCESS")
        # delivered again, it is not run again
        self.send("tests.script_once", ["INSERT INTO bought VALUES (8)"], id=id, celeriac_deliveries=1)
        self.wait_sql(f"SELECT count(*) FROM celeriac.ledger WHERE task_id = '{id}'", "2")
        self.assertEqual(self.sql("SELECT sum(n) FROM bought"), "7")
        self.assertIn(id, self.history("--id", id))
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.ledger_default"), "2")
        # days are made and dropped by who owns the tables
        worker.says("partitions cannot be made and dropped.*ledger", 1)
        self.sql("SELECT celeriac.ledger_keep(30)", user="shop_owner")
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.ledger_default"), "0")

    def test_a_worker_writes_sums(self):
        worker = self.ledger_worker("summary")
        self.get(self.send("tests.add", 1, 2))
        worker.stop()
        self.assertEqual(self.sql("SELECT task, sum(attempts) FROM celeriac.ledger_summary GROUP BY task"), "tests.add|1")
        self.assertIn("tests.add", self.history("--sums"))

    def test_each_role_is_refused_what_is_not_its_part(self):
        refused = {
            "shop_app": ["SELECT * FROM celeriac.outbox", "DELETE FROM celeriac.outbox", "UPDATE celeriac.outbox SET refused = NULL",
                         "SELECT * FROM celeriac.outbox_take(1)", "SELECT * FROM celeriac.effect_begin('x', false)",
                         "DELETE FROM celeriac.ledger", "SELECT * FROM django_celery_results_taskresult"],
            "shop_tasks": ["SELECT * FROM celeriac.outbox", "DELETE FROM celeriac.effect", "UPDATE celeriac.effect SET result = NULL",
                           "SELECT celeriac.effect_expire()", "INSERT INTO celeriac.ledger_node VALUES ('x', 1, 1, 1, now(), now())",
                           "SELECT * FROM celeriac.ledger"],
            "shop_beat": ["SELECT celeriac.enqueue('t')", "INSERT INTO celeriac.effect_0 VALUES ('x', 0, 't', now())",
                          "TRUNCATE celeriac.outbox", "UPDATE celeriac.identity SET id = gen_random_uuid()",
                          "SELECT * FROM celeriac.ledger"],
            "shop_ledger": ["SELECT * FROM celeriac.ledger", "DELETE FROM celeriac.ledger", "DELETE FROM celeriac.ledger_summary",
                            "DELETE FROM celeriac.ledger_node", "SELECT celeriac.ledger_keep(30)", "SELECT celeriac.enqueue('t')"],
            "shop_results": ["SELECT celeriac.enqueue('t')", "DELETE FROM django_celery_results_taskresult",
                             "SELECT * FROM celeriac.ledger"],
            "shop_reader": ["INSERT INTO celeriac.ledger_node VALUES ('x', 1, 1, 1, now(), now())", "DELETE FROM celeriac.ledger",
                            "SELECT * FROM celeriac.outbox", "SELECT celeriac.enqueue('t')"],
        }
        self.assertEqual(sorted([*refused, "shop_owner"]), sorted(self.roles))
        # there is something in the slot of next week, else nobody wants to empty it
        self.sql("INSERT INTO celeriac.effect SELECT 'x' || slot, slot, 't', now(), NULL, NULL, '[]', '[]' FROM generate_series(0, 2) AS slot")
        for role, statements in refused.items():
            for statement in [*statements, "CREATE TABLE celeriac.own ()", "DROP TABLE celeriac.outbox",
                              "UPDATE celeriac.migration SET checksum = ''"]:
                with self.subTest(role=role, statement=statement):
                    done = self.postgres.psql(statement, database="shop", check=False, user=role)
                    self.assertRegex(done.stderr, "ERROR:  (permission denied for|must be owner of)")
