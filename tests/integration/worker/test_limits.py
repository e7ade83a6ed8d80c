"""What the server does for a task ends with the task: time limits, revocation, cold stop, a lost lease; and
what other transactions do to it is not its fault."""
import json
import os
import re
import signal
import time

from integration.worker.calls import WorkerTest, children_of
from support.servers import PostgresServer, celeriac, free_port, wait_until

SLEEP = "SELECT pg_sleep(600)"
PROMISED = 1.5  # seconds from the death of the process to the end of its session
AT_LEAST = 8.0  # where this machine has other things to do


class Limits(WorkerTest):
    def setUp(self):
        super().setUp()
        self.postgres = PostgresServer(self.folder, options={"listen_addresses": "127.0.0.1"}, port=free_port())
        self.addCleanup(self.postgres.stop)
        self.postgres.start()
        self.connection = self.postgres.connect()
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.cursor = self.connection.cursor()

    def query(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchall() if self.cursor.description else None

    def worker(self, *arguments, **options):
        return super().worker("-c", "1", *arguments, postgres=self.postgres, **options)

    def sessions(self, extra="true"):
        return [pid for pid, in self.query(f"SELECT pid FROM pg_stat_activity WHERE application_name = 'celeriac' AND {extra}")]

    def session(self, extra):
        return wait_until(lambda: self.sessions(extra), 20, extra)[0]

    def gone_after(self, child, session, seconds=20):
        """How long `session` outlived the process `child`."""
        wait_until(lambda: not os.path.exists(f"/proc/{child}"), seconds, "the process is gone", 0.002)
        begin = time.monotonic()
        wait_until(lambda: session not in self.sessions(), seconds, "the session is gone", 0.005)
        return time.monotonic() - begin

    def ends_with_its_task(self, steps, waits, end, task="tests.script", worker=None, **headers):
        """Kills a task in the middle of its steps, by `end`, and looks how long its session lives on."""
        worker = worker or self.worker()
        id = self.send(task, steps, **headers)
        session = self.session(waits)
        [child] = children_of(worker.pid)
        end(id)
        self.took = self.gone_after(child, session)
        self.assertLess(self.took, AT_LEAST)
        self.assertEqual(self.sessions("state LIKE 'idle in transaction%'"), [])
        return id

    def lock_a_table(self):
        """Until the connection that is returned is rolled back."""
        self.query("CREATE TABLE busy ()")
        holder = self.postgres.connect()
        self.addCleanup(holder.close)
        holder.cursor().execute("LOCK TABLE busy")
        return holder

    def nothing(self, id):
        pass

    def terminate(self, id):
        celeriac("revoke", id, "--terminate", redis=self.server, check=True)

    def test_the_hard_limit_ends_a_statement_on_the_server(self):
        worker, took = self.worker(), []
        for steps in ([SLEEP], ["BEGIN", SLEEP], ["DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"]):
            id = self.ends_with_its_task(steps, "state = 'active' AND query NOT LIKE 'SET%'", self.nothing, worker=worker,
                                         timelimit=[1, None])
            self.assertEqual(self.failure(id)[0], "TimeLimitExceeded")
            took.append(self.took)
        self.assertLess(min(took), PROMISED)

    def test_the_hard_limit_ends_an_open_transaction(self):
        id = self.ends_with_its_task(["BEGIN", "SELECT 1", "SLEEP", "SLEEP", "SLEEP"], "state = 'idle in transaction'",
                                     self.nothing, timelimit=[1.5, None])
        self.assertEqual(self.failure(id)[0], "TimeLimitExceeded")

    def test_the_hard_limit_reaches_a_server_behind_tcp(self):
        uri = f"postgresql://celeriac@127.0.0.1:{self.postgres.port}/celeriac"
        worker = self.worker("--database", uri)
        self.ends_with_its_task([SLEEP], "query = '%s'" % SLEEP, self.nothing, worker=worker, timelimit=[1, None])

    def test_a_revocation_ends_a_statement_and_a_wait_for_a_lock(self):
        worker = self.worker()
        self.ends_with_its_task([SLEEP], "query = '%s'" % SLEEP, self.terminate, worker=worker)
        self.lock_a_table()
        self.ends_with_its_task(["SELECT * FROM busy"], "wait_event_type = 'Lock'", self.terminate, worker=worker)

    def test_a_cold_stop_ends_a_statement(self):
        worker = self.worker()
        self.ends_with_its_task([SLEEP], "query = '%s'" % SLEEP, lambda id: worker.send_signal(signal.SIGQUIT), worker=worker)

    def test_the_death_of_the_supervisor_ends_a_statement(self):
        worker = self.worker()
        self.ends_with_its_task([SLEEP], "query = '%s'" % SLEEP, lambda id: worker.send_signal(signal.SIGKILL), worker=worker)

    def test_a_lost_lease_ends_a_statement(self):
        first = self.worker("--lease", "3s", name="first")

        def lose_the_lease(id):
            first.send_signal(signal.SIGSTOP)
            try:
                second = self.worker("--lease", "3s", name="second")
                self.running(second, id, 20)
            finally:
                first.send_signal(signal.SIGCONT)

        self.ends_with_its_task([SLEEP], "query = '%s'" % SLEEP, lose_the_lease, worker=first)
        first.says("The lease was lost")

    def test_a_wait_for_a_lock_ends_before_the_limit_and_is_tried_again(self):
        self.worker()
        holder = self.lock_a_table()
        id = self.send("tests.script", ["SELECT * FROM busy"], timelimit=[4, None])
        retry = self.wait(id, 20, ("RETRY", "FAILURE"))
        self.assertIn("(SQLSTATE 55P03)", retry["result"]["exc_message"][0])
        holder.rollback()
        self.get(id, 20)

    def test_conflicts_do_not_use_up_the_retries(self):
        self.query("CREATE SEQUENCE tries")
        conflict = ("DO $$ BEGIN IF nextval('tries') < 6 THEN RAISE EXCEPTION 'raced' USING ERRCODE = '40001';"
                    " END IF; END $$")
        worker = self.worker()
        id = self.send("tests.script", [conflict])
        seen = set()

        def ended():
            for text in self.redis.zrange("celeriac:delayed:{celery}", 0, -1) or []:
                found = re.search(rb'"retries": (\d+).*"celeriac_conflicts": (\d+)', text)
                if found:
                    seen.add(tuple(map(int, found.groups())))
            return self.result(id)["status"] in ("SUCCESS", "FAILURE")

        wait_until(ended, 30, "the end")
        self.get(id)
        worker.says('msg="Task retry"', 5)  # tests.script has three retries
        self.assertLessEqual({retries for retries, _ in seen}, {0})

    def test_an_error_tells_all_that_the_server_told(self):
        self.query("CREATE TABLE account (slug text CONSTRAINT one_of_a_kind UNIQUE, n int NOT NULL)")
        self.worker()
        insert = "INSERT INTO account VALUES ('a', 1)"
        type, _, [text] = self.failure(self.send("tests.script", [insert, insert]))
        self.assertEqual(type, "IntegrityError")
        for words in ('duplicate key value', "(SQLSTATE 23505)", 'constraint "one_of_a_kind"', 'schema "public"',
                      'table "account"', "Key (slug)=(a) already exists."):
            self.assertIn(words, text)
        _, _, [text] = self.failure(self.send("tests.script", ["INSERT INTO account VALUES ('b')"]))
        self.assertIn('(SQLSTATE 23502); schema "public"; table "account"; column "n"', text)
        raised = "DO $$ BEGIN RAISE EXCEPTION '%', repeat('äöü', 500) USING ERRCODE = 'P0042', CONSTRAINT = 'mine'; END $$"
        _, _, [text] = self.failure(self.send("tests.script", [raised]))
        self.assertIn('... (SQLSTATE P0042); constraint "mine"', text)
        json.dumps(text).encode()
