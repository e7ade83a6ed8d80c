"""Exactly-once effects (.transaction = CEL_ONCE): whatever is delivered again or dies, effects stand once."""
import json
import os
import signal

from integration.worker.calls import WorkerTest, children_of, message
from support.pg_proxy import PgProxy
from support.servers import PostgresServer, celeriac, thaw, wait_until

ADD = "UPDATE account SET total = total + 1"


class Once(WorkerTest):
    def setUp(self):
        super().setUp()
        self.postgres = PostgresServer(self.folder)
        self.addCleanup(self.postgres.stop)
        self.postgres.start()
        self.sql("CREATE TABLE account (total int NOT NULL); INSERT INTO account VALUES (0)")

    def migrate(self):
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": self.postgres.uri}, check=True)

    def sql(self, text):
        return self.postgres.sql(text)

    def total(self):
        return int(self.sql("SELECT total FROM account"))

    def worker(self, *arguments, **options):
        return super().worker(*arguments, postgres=self.postgres, **options)

    def send_again(self, id, *steps, redelivered=False):
        _, text = message("tests.script_once", list(steps), id=id, **({"redelivered": True} if redelivered else {}))
        self.redis.lpush("celery", text)

    def delivered(self, id, count):
        """Waits until so many deliveries of `id` ended."""
        wait_until(lambda: self.ended.text().count(f'msg="Task succeeded" task=tests.script_once task_id={id}') == count,
                   20, f"{count} ends")

    def test_a_call_that_is_delivered_again_is_answered_and_not_run(self):
        self.migrate()
        self.ended = self.worker("-c", "2")
        id = self.send("tests.script_once", [ADD, "SEND tests.noop"])
        first = self.wait(id)
        self.assertEqual(first["status"], "SUCCESS", first)
        self.delivered(id, 1)
        for count in range(2, 5):
            self.redis.delete("celery-task-meta-" + id)
            self.send_again(id, ADD, "SEND tests.noop", redelivered=count % 2 == 0)
            again = self.wait(id)
            self.assertEqual({**again, "date_done": first["date_done"]}, first)
            self.delivered(id, count)
        self.assertEqual(self.total(), 1)
        self.assertEqual(len(first["children"]), 1)
        self.assertEqual(self.sql("SELECT task_id, task FROM celeriac.effect"), f"{id}|tests.script_once")

    def test_a_chord_that_follows_begins_the_same_each_time(self):
        self.migrate()
        self.ended = self.worker("-c", "1")

        def task(**options):
            return {"task": "tests.noop", "args": [], "kwargs": {}, "options": {"queue": "nobodys", **options},
                    "subtask_type": None, "immutable": True}

        members = {**task(), "task": "celery.group", "kwargs": {"tasks": [task(), task()]}, "subtask_type": "group"}
        chord = {**task(), "task": "celery.chord", "subtask_type": "chord",
                 "kwargs": {"kwargs": {}, "header": members, "body": task()}}
        id, text = message("tests.script_once", [ADD], embed={"chain": [chord]})
        for count in (1, 2):
            self.redis.lpush("celery", text)
            self.delivered(id, count)
            for size in self.redis.keys("*.s"):
                self.assertEqual(self.redis.getdel(size), b"2")
        sent = [json.loads(text)["headers"] for text in self.redis.lrange("nobodys", 0, -1)]
        self.assertEqual(len(sent), 4)
        self.assertEqual(len({header["id"] for header in sent}), 2)
        self.assertEqual(len({header["group"] for header in sent}), 1)
        self.assertEqual(self.total(), 1)

    def test_runs_of_one_call_at_once_follow_one_another(self):
        self.migrate()
        self.ended = self.worker("-c", "4")
        id = self.send("tests.script_once", [ADD, "SELECT pg_sleep(0.3)"])
        for _ in range(7):
            self.send_again(id, ADD, "SELECT pg_sleep(0.3)")
        self.delivered(id, 8)
        self.assertEqual(self.total(), 1)

    def test_a_map_is_done_once_and_as_a_whole(self):
        self.migrate()
        self.worker("-c", "1")
        signature = {"task": "tests.script_once", "args": [], "kwargs": {}, "options": {}}

        def map_over(*items, id=None):
            return self.send("celery.map", id=id, kwargs={"task": signature, "it": list(items)})

        id = map_over([ADD], [ADD], [ADD])
        self.assertEqual(self.get(id), [""] * 3)
        self.redis.delete("celery-task-meta-" + id)
        map_over([ADD], [ADD], [ADD], id=id)
        self.assertEqual(self.get(id), [""] * 3)
        self.assertEqual(self.total(), 3)
        broken = map_over([ADD], ["SELECT 1/0"], [ADD])
        self.assertEqual(self.failure(broken)[0], "DataError")
        self.assertEqual(self.total(), 3)

    def test_what_fails_leaves_no_marker(self):
        self.migrate()
        self.worker("-c", "1")
        for end in ("FAIL", "IGNORE"):
            id = self.send("tests.script_once", [ADD, end])
            self.wait_idle()
            self.assertEqual(self.total(), 0)
            self.redis.delete("celery-task-meta-" + id)
            self.send_again(id, ADD, "SELECT 1")
            self.assertEqual(self.get(id), "")
            self.sql("UPDATE account SET total = total - 1")
            self.assertEqual(self.total(), 0)

    def test_a_process_that_dies_leaves_nothing_and_is_run_again(self):
        self.migrate()
        worker = self.worker("-c", "1")
        for signal_sent in (signal.SIGKILL, signal.SIGSEGV):
            id = self.send("tests.script_once", [ADD, "SELECT pg_sleep(1)"])
            wait_until(lambda: self.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' "
                                        "AND pid <> pg_backend_pid()") == "1", 10, "the statement")
            [child] = children_of(worker.pid)
            os.kill(child, signal_sent)
            self.get(id)
        self.assertEqual(self.total(), 2)

    def test_a_run_that_was_given_up_is_not_waited_for_and_commits_nothing(self):
        self.migrate()
        first = self.worker("-c", "1", "--lease", "3s", name="first")
        id = self.send("tests.script_once", [ADD, "SLEEP", "SLEEP"])
        wait_until(lambda: self.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == "1",
                   10, "a transaction that is open")
        stopped = [first.pid, *children_of(first.pid)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.worker("-c", "1", "--lease", "3s", name="second")
            self.get(id, 20)
            self.assertEqual(self.total(), 1)
        finally:
            thaw(stopped)
        wait_until(lambda: "The lease was lost" in first.text(), 10, "the loss")
        self.wait_idle()
        self.assertEqual(self.total(), 1)

    def test_a_commit_whose_answer_never_came_is_settled_by_looking(self):
        self.migrate()
        proxy = PgProxy(self.folder, self.postgres).start()
        self.addCleanup(proxy.stop)
        worker = self.worker("-c", "1", "--database", proxy.uri)
        for count, what in enumerate(("answer", "message", "answer"), 1):
            proxy.lose("COMMIT", what)
            id = self.send("tests.script_once", [ADD])
            self.get(id, 20)
            self.assertEqual((proxy.lost, self.total()), (count, count))
            retried = f'msg="Task retry" task=tests.script_once task_id={id}' in worker.text()
            self.assertEqual(retried, what == "message", worker.text())
        worker.says("the connection was lost before the transaction was committed")

    def test_a_task_sends_with_a_transaction_of_its_own(self):
        self.migrate()
        self.worker("-c", "1")
        id = self.send("tests.script", ["BEGIN", "DB SEND tests.kept", "COMMIT", "BEGIN", "DB SEND tests.lost", "ROLLBACK",
                                        "DB SEND tests.alone", "FAIL"])
        self.wait(id)
        rows = [json.loads(line) for line in self.sql("SELECT message FROM celeriac.outbox ORDER BY number").splitlines()]
        self.assertEqual([(row["headers"]["task"], row["headers"]["parent_id"], row["headers"]["root_id"]) for row in rows],
                         [("tests.kept", id, id), ("tests.alone", id, id)])

    def test_without_its_tables_the_task_waits_for_them(self):
        self.worker("-c", "1")
        id = self.send("tests.script_once", [ADD])
        wait_until(lambda: "celeriac migrate" in json.dumps(self.result(id)), 10, "a retry with its reason")
        self.migrate()
        self.get(id)
        self.assertEqual(self.total(), 1)

    def test_an_isolation_level_that_cannot_keep_the_promise_is_refused(self):
        self.migrate()
        self.sql("ALTER ROLE celeriac SET default_transaction_isolation = 'repeatable read'")
        self.worker("-c", "1")
        id = self.send("tests.script_once", [ADD])
        self.assertIn("not repeatable read", self.failure(id)[2][0])
        self.assertEqual(self.total(), 0)

    def test_markers_go_by_partition_a_week_later(self):
        self.migrate()
        self.sql("INSERT INTO celeriac.effect SELECT 'id' || day, celeriac.effect_slot(done_at), 't', done_at, NULL, NULL, '[]', '[]'"
                 " FROM (SELECT day, now() - day * interval '1 day' AS done_at FROM generate_series(0, 14) AS day) AS days")
        self.sql("SELECT celeriac.effect_expire()")
        kept = self.sql("SELECT string_agg(task_id, ' ' ORDER BY done_at DESC) FROM celeriac.effect")
        week_began = "to_timestamp(floor(extract(epoch FROM now()) / 604800) * 604800)"
        days = int(self.sql(f"SELECT 7 + floor(extract(epoch FROM now() - {week_began}) / 86400)"))
        self.assertEqual(kept, " ".join(f"id{day}" for day in range(days + 1)))
        self.sql("INSERT INTO celeriac.effect SELECT 'new', celeriac.effect_slot(now(), 1), 't', now(), NULL, NULL, '[]', '[]'")
        with self.postgres.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM celeriac.effect")
            self.sql("SELECT celeriac.effect_expire()")  # gives way to whoever reads
        self.assertEqual(int(self.sql("SELECT count(*) FROM celeriac.effect")), days + 2)
