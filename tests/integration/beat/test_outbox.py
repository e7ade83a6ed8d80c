"""The outbox: what a transaction enqueues is published if and only if it is committed, and once."""
import base64
import json
import os
import signal
import subprocess
import unittest
import uuid

from support.pg_proxy import PgProxy
from support.servers import BUILD, CELERIAC, Daemon, PostgresServer, RedisServer, celeriac, temporary_folder, wait_until


class Outbox(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-outbox-"))
        cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
        cls.redis_server = cls.enterClassContext(RedisServer(cls.folder))
        cls.redis = cls.redis_server.client()
        cls.addClassCleanup(cls.redis.close)
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": cls.postgres.uri}, check=True)

    def setUp(self):
        self.redis.flushall()
        self.sql("TRUNCATE celeriac.outbox")
        self.beats = 0

    def sql(self, text):
        return self.postgres.sql(text)

    def beat(self, *arguments, uri=None):
        self.beats += 1
        beat = Daemon([CELERIAC, "beat", "-b", self.redis_server.url, "-l", "debug",
                       "--database", uri or self.postgres.uri, *arguments],
                      self.folder, f"{self.id().rpartition('.')[2]}{self.beats}", ready="Beat ready")
        self.addCleanup(beat.stop)
        return beat.start()

    def messages(self, queue="celery"):
        """Of the queue, the oldest first."""
        return [json.loads(text) for text in reversed(self.redis.lrange(queue, 0, -1))]

    def args(self, queue="celery"):
        return [json.loads(base64.b64decode(message["body"]))[0] for message in self.messages(queue)]

    def wait_published(self, seconds=20):
        """Until the outbox is empty, and no mark is left of it."""
        wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox") == "0", seconds, "an empty outbox")
        wait_until(lambda: not self.redis.keys("celeriac:sent:*"), 5, "no marks")

    def test_a_call_becomes_a_message_of_celery_with_its_options(self):
        self.beat()
        id = str(uuid.uuid4())
        options = {"queue": "orders", "priority": 5, "eta": "2031-01-02T03:04:05.678Z", "expires": 3600, "retries": 2,
                   "time_limit": 1.5, "soft_time_limit": 1, "ignore_result": True, "shadow": "a name", "task_id": id,
                   "headers": {"trace": {"id": 7}}}
        done = self.sql(f"SELECT celeriac.enqueue('shop.order', '[42, \"grün\", 1.5, null]', '{{\"dry\": true}}', "
                        f"'{json.dumps(options)}')")
        self.assertEqual(done, id)
        self.wait_published()
        [message] = self.messages("orders\x06\x163")
        headers = message["headers"]
        self.assertEqual((headers["task"], headers["id"], headers["root_id"], headers["parent_id"]),
                         ("shop.order", id, id, None))
        self.assertEqual((headers["retries"], headers["timelimit"], headers["ignore_result"], headers["shadow"]),
                         (2, [1.5, 1], True, "a name"))
        self.assertEqual(headers["eta"], "2031-01-02T03:04:05.678000+00:00")
        self.assertEqual(headers["trace"], {"id": 7})
        self.assertIsNotNone(headers["expires"])
        self.assertEqual(message["properties"]["priority"], 5)
        self.assertEqual(json.loads(base64.b64decode(message["body"]))[:2], [[42, "grün", 1.5, None], {"dry": True}])

    def test_what_is_rolled_back_is_not_published(self):
        self.beat()
        connection = self.postgres.connect()
        self.addCleanup(connection.close)
        with connection.cursor() as cursor:
            cursor.execute("SELECT celeriac.enqueue('t', '[1]')")
            connection.rollback()
            cursor.execute("SELECT celeriac.enqueue('t', '[2]'), celeriac.enqueue('t', '[3]')")
            connection.commit()
            cursor.execute("SAVEPOINT s; SELECT celeriac.enqueue('t', '[4]'); ROLLBACK TO s; SELECT celeriac.enqueue('t', '[5]')")
            connection.commit()
        self.wait_published()
        self.assertEqual(self.args(), [[2], [3], [5]])

    def test_what_cannot_be_is_refused_at_once_with_a_reason(self):
        for call, words in {
            "NULL": "task is a name",
            "''": "task is a name",
            "repeat('x', 256)": "task is a name",
            "'t', '{}'": "args is an array, not object",
            "'t', '[]', '[]'": "kwargs is an object, not array",
            "'t', '[]', '{}', '[]'": "options is an object, not array",
            """'t', options => '{"queue": ""}'""": "option queue is a name",
            """'t', options => '{"queue": "a\\nb"}'""": "option queue is a name",
            """'t', options => '{"queue": 7}'""": "option queue is a name",
            """'t', options => '{"priority": 10}'""": "option priority is 0 (first) to 9 (last), not 10",
            """'t', options => '{"priority": 1.5}'""": "option priority is",
            """'t', options => '{"eta": "soon"}'""": 'option eta is no time: "soon"',
            """'t', options => '{"eta": 5}'""": "option eta is a time like",
            """'t', options => '{"eta": "0001-01-01T00:00:00Z"}'""": "option eta is out of range",
            """'t', options => '{"countdown": -1}'""": "option countdown is 0 to",
            """'t', options => '{"countdown": 1, "eta": "2031-01-01"}'""": "countdown and eta exclude each other",
            """'t', options => '{"task_id": "x"}'""": "option task_id is a UUID",
            """'t', options => '{"time_limit": 0}'""": "option time_limit is a number of seconds",
            """'t', options => '{"ordered": 1}'""": "option ordered is true or false",
            """'t', options => '{"routing_key": "x"}'""": 'there is no option "routing_key" (queue, priority',
            "'t', jsonb_build_array(repeat('x', 9000000))": "bytes of JSON, and may have 8388608",
        }.items():
            with self.subTest(call=call):
                done = self.postgres.psql(f"SELECT celeriac.enqueue({call})", check=False)
                self.assertIn("celeriac.enqueue: ", done.stderr)
                self.assertIn(words, done.stderr)
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.outbox"), "0")

    def test_many_at_once_keep_their_order(self):
        calls = [{"task": "t", "args": [n], "options": {"ordered": True}} for n in range(1200)]
        ids = self.sql(f"SELECT celeriac.enqueue_many('{json.dumps(calls)}')").split()
        for _ in range(3):
            self.beat()
        self.wait_published()
        self.assertEqual(self.args(), [[n] for n in range(1200)])
        self.assertEqual([message["headers"]["id"] for message in self.messages()], ids)
        for calls, words in (('{}', "calls is an array"), ('[{"task": "t", "arg": []}]', 'no "arg"'), ('[{}]', "task is a name"),
                             ('[{"task": "t", "options": {"task_id": "x"}}]', "option task_id is a UUID")):
            self.assertIn(words, self.postgres.psql(f"SELECT celeriac.enqueue_many('{calls}')", check=False).stderr)

    def test_several_relays_publish_each_row_once(self):
        for _ in range(3):
            self.beat()
        for part in range(10):
            self.sql(f"SELECT celeriac.enqueue('t', jsonb_build_array({part} * 300 + n)) FROM generate_series(0, 299) AS n")
        self.wait_published()
        self.assertEqual(sorted(self.args()), [[n] for n in range(3000)])

    def test_a_relay_that_is_cut_off_at_any_point_neither_loses_nor_doubles(self):
        proxy = PgProxy(self.folder, self.postgres).start()
        self.addCleanup(proxy.stop)
        self.beat(uri=proxy.uri)
        expected = []
        for words, what in (("DELETE", "message"), ("DELETE", "answer"), ("outbox_take", "message"), ("outbox_take", "answer")):
            with self.subTest(words=words, what=what):
                lost = proxy.lost
                proxy.lose(words, what)
                if words == "DELETE":
                    self.sql(f"SELECT celeriac.enqueue('t', '[{len(expected)}]')")
                    expected.append([len(expected)])
                wait_until(lambda: proxy.lost == lost + 1, 10, "the fault")
                wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox") == "0", 20, "an empty outbox")
        self.assertEqual(self.args(), expected)

    def test_a_killed_relay_leaves_the_rest_to_another(self):
        self.sql("SELECT celeriac.enqueue('t', jsonb_build_array(n)) FROM generate_series(0, 9999) AS n")
        beat = self.beat()
        wait_until(lambda: self.redis.llen("celery") > 1000, 10, "some of them", 0.001)
        beat.send_signal(signal.SIGKILL)
        beat.wait()
        self.assertLess(self.redis.llen("celery"), 10000)
        self.beat()
        wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox") == "0", 30, "an empty outbox")
        self.assertEqual(sorted(self.args()), [[n] for n in range(10000)])

    def test_what_cannot_be_published_is_set_aside_and_holds_nobody_up(self):
        self.redis.set("odd", "no list")
        self.beat()
        self.sql("""SELECT celeriac.enqueue('t', '[1]'), celeriac.enqueue('t', '[2]', options => '{"queue": "odd"}'),
                    celeriac.enqueue('t', '[3]', options => '{"headers": {"task": "x"}}'), celeriac.enqueue('t', '[4]')""")
        wait_until(lambda: self.args() == [[1], [4]], 10, "the others")
        wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox WHERE refused IS NULL") == "0", 10, "their reasons")
        first, second = self.sql("SELECT refused FROM celeriac.outbox ORDER BY number").splitlines()
        self.assertIn("WRONGTYPE", first)
        self.assertIn('"task" cannot be the name of a header', second)
        self.redis.delete("odd")
        self.sql("UPDATE celeriac.outbox SET refused = NULL WHERE refused LIKE '%WRONGTYPE%'")
        wait_until(lambda: self.args("odd") == [[2]], 10, "the mended one")

    def test_a_message_of_no_priority_is_set_aside_and_holds_nobody_up(self):
        for step in (5, -3, 12, 0):
            self.sql(f"SELECT celeriac.enqueue_message('m{step}', 'celery', {step}, '{{\"body\": \"WzFd\"}}')")
        beat = self.beat()
        self.sql("SELECT celeriac.enqueue('t', '[1]', options => '{\"queue\": \"other\"}')")
        wait_until(lambda: (self.redis.llen("celery"), self.redis.llen("other")) == (1, 1), 10, "the others")
        wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox WHERE refused IS NULL") == "0", 10, "their reasons")
        self.assertEqual(self.sql("SELECT id, refused FROM celeriac.outbox ORDER BY number").splitlines(),
                         [f"m{step}|a message's step is 0, 3, 6 or 9, not {step}" for step in (5, -3, 12)])
        beat.says("A call in the outbox cannot be published", 3)

    def test_rows_that_cannot_be_deleted_are_told_once_and_published_once(self):
        self.sql("""CREATE SEQUENCE refusals; CREATE FUNCTION refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN PERFORM nextval('refusals'); RAISE EXCEPTION 'not today'; END $$;
                    CREATE TRIGGER stay BEFORE DELETE ON celeriac.outbox EXECUTE FUNCTION refuse_deletion()""")
        self.addCleanup(self.sql, "DROP TRIGGER IF EXISTS stay ON celeriac.outbox")
        beat = self.beat()
        self.sql("SELECT celeriac.enqueue('t', '[1]')")
        wait_until(lambda: int(self.sql("SELECT last_value FROM refusals")) >= 4, 20, "some attempts")
        beat.says("The outbox cannot be relayed.*not today", 1)
        self.assertNotIn("relayed again", beat.text())
        self.sql("DROP TRIGGER stay ON celeriac.outbox")
        self.wait_published()
        self.assertEqual(self.args(), [[1]])
        beat.says("The outbox is relayed again", 1)
        beat.says("The outbox cannot be relayed", 1)

    def test_markers_that_cannot_be_removed_hold_nothing_up(self):
        self.sql("ALTER FUNCTION celeriac.effect_expire() RENAME TO away")
        self.addCleanup(self.sql, "ALTER FUNCTION celeriac.away() RENAME TO effect_expire")
        beat = self.beat()
        beat.says("Old markers of exactly-once effects stay.*effect_expire", 1)
        self.sql("SELECT celeriac.enqueue('t', '[1]')")
        self.wait_published()
        self.assertNotIn("outbox", beat.text())

    def test_servers_that_are_away_are_waited_for(self):
        beat = self.beat()
        self.sql("SELECT celeriac.enqueue('t', '[1]')")
        self.wait_published()
        self.redis_server.stop()
        self.sql("SELECT celeriac.enqueue('t', '[2]')")
        wait_until(lambda: "cannot be published" in beat.text(), 20, "a warning")
        self.redis_server.start()
        self.wait_published(30)
        self.postgres.stop()
        wait_until(lambda: "cannot be read" in beat.text(), 20, "a warning")
        self.postgres.start()
        self.sql("SELECT celeriac.enqueue('t', '[3]')")
        self.wait_published(30)
        self.assertEqual(self.args()[-1], [3])
        beat.stop()
        self.assertNotIn("error", beat.text())

    def test_a_c_program_sends_in_its_own_transaction(self):
        self.sql("CREATE TABLE bought (n int PRIMARY KEY)")
        self.beat()
        done = subprocess.run([os.path.join(BUILD, "tests", "outbox_buyer"), self.postgres.uri, "0", "100", "t"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "50\n"), done.stderr)
        self.wait_published()
        self.assertEqual(self.args(), [[n] for n in range(0, 100, 2)])
        headers = self.messages()[0]["headers"]
        self.assertEqual((headers["task"], headers["root_id"]), ("t", headers["id"]))
        self.sql("ALTER TABLE celeriac.outbox RENAME TO away")
        self.addCleanup(self.sql, "ALTER TABLE celeriac.away RENAME TO outbox")
        done = subprocess.run([os.path.join(BUILD, "tests", "outbox_buyer"), self.postgres.uri, "100", "1", "t"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("The call cannot be put into the outbox: ERROR: ", done.stderr)

    def test_a_trigger_may_enqueue(self):
        self.sql("""CREATE TABLE purchase (id int);
            CREATE FUNCTION on_purchase() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM celeriac.enqueue('shop.process', jsonb_build_array(NEW.id)); RETURN NULL; END $$;
            CREATE TRIGGER process AFTER INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION on_purchase()""")
        self.beat()
        self.sql("INSERT INTO purchase VALUES (7), (8)")
        self.wait_published()
        self.assertEqual(self.args(), [[7], [8]])


if __name__ == "__main__":
    unittest.main()
