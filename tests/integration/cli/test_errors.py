"""Everything that can be wrong gives one clear line on standard error and the documented exit status."""
import os
import re
import subprocess
import time
import unittest

from support import shop
from support.servers import (CELERIAC, MODULES, PostgresServer, RedisServer, celeriac, temporary_folder, wait_until)

USAGE, UNREACHABLE, INTERNAL, DENIED, CONFIG = 2, 69, 70, 77, 78


class Table(unittest.TestCase):
    """Rows of (arguments, status, pattern[, environment]); `self.check` runs one."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-errors-"))

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def check(self, arguments, status, pattern, environment=None):
        with self.subTest(arguments=arguments, environment=environment):
            begun = time.monotonic()
            done = celeriac(*arguments, environment={
                "CELERIAC_BROKER_URL": "redis+socket:///nonexistent/redis.sock", "CELERY_BROKER_URL": "",
                "CELERIAC_CONFIG": "", "CELERIAC_DATABASE_URL": "", **(environment or {})})
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertRegex(done.stderr, r"\Aceleriac: .*" + pattern)
            self.assertNotIn("hunter2", done.stderr)
            self.assertLess(time.monotonic() - begun, 15)
            return done

    def check_all(self, rows):
        for row in rows:
            self.check(*row)


class CommandLine(Table):
    def test_a_wrong_command_line_is_status_2(self):
        self.check_all([
            (["wrok"], USAGE, '"wrok" is no verb'),
            (["call"], USAGE, "name of a task"),
            (["call", "a.b", "--countdown", "soon"], USAGE, '--countdown: "soon" is not a duration'),
            (["call", "a.b", "--countdown"], USAGE, "--countdown: needs a value"),
            (["call", "a.b", "--eta", "tomorrow"], USAGE, '--eta: "tomorrow" is not a time'),
            (["call", "a.b", "--expires", "x"], USAGE, '--expires: "x"'),
            (["call", "a.b", "--priority", "10"], USAGE, '--priority: "10"'),
            (["call", "a.b", "--header", "novalue"], USAGE, "--header: .*NAME=VALUE"),
            (["call", "a.b", "--serializer", "pickle"], USAGE, '--serializer: "pickle"'),
            (["call", "a.b", "--compression", "brotli"], USAGE, '--compression: "brotli"'),
            (["call", "a.b", "--args", "{}"], USAGE, "--args: not a JSON list"),
            (["call", "a.b", "--kwargs", "[1"], USAGE, "--kwargs: "),
            (["call", "a.b", "--x", "1", "--x", "2"], USAGE, "x is given twice"),
            (["call", "a.b", "--=1"], USAGE, "no name"),
            (["call", "a.b", "--wait", "--ignore-result"], USAGE, "exclude each other"),
            (["call", "a.b", "--wait=never"], USAGE, '--wait: "never"'),
            (["call", "a.b", b"\xff"], USAGE, "argument 1 is not UTF-8"),
            (["call", "x" * 300], USAGE, "name of a task"),
            (["call", "a.b", "--queue", "a\x06b"], USAGE, "queue"),
            (["call", "a.b", "1" * 30, "--serializer", "msgpack"], USAGE, "64 bits"),
            (["result"], USAGE, "task id"),
            (["result", "a", "b"], USAGE, "task id"),
            (["result", "a", "--frobnicate"], USAGE, "--frobnicate: unknown option"),
            (["queues", "--timeout", "0"], USAGE, '--timeout: "0" must be at least'),
            (["queues", "--brokr", "x"], USAGE, "--broker"),
            (["purge", "--force"], USAGE, "name the queues"),
            (["purge", "celery"], USAGE, "--force"),
            (["migrate", "somewhere"], USAGE, "--dir"),
        ])

    def test_without_a_verb_help_goes_to_standard_error(self):
        done = celeriac()
        self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
        self.assertIn("Usage: celeriac VERB", done.stderr)


class Configuration(Table):
    def test_a_wrong_configuration_is_status_78(self):
        unknown = self.file("unknown.ini", "[celeriac]\nbroker_url = redis://h\n\nbrokr_url = x\n")
        section = self.file("section.ini", "[celeriak]\nbroker_url = x\n")
        value = self.file("value.ini", "[worker]\nconcurrency = many\n")
        broken = self.file("broken.ini", "[celeriac\n")
        for verb in (["call", "a.b"], ["result", "id"], ["queues"], ["purge", "--force", "q"], ["migrate"]):
            self.check_all([
                ([*verb, "--config", "/nonexistent/c.ini"], CONFIG, "/nonexistent/c.ini"),
                ([*verb, "--config", unknown], CONFIG, re.escape(unknown) + ":4: .*brokr_url.*broker_url"),
                ([*verb, "--config", section], CONFIG, re.escape(section) + ":[12]: .*celeriak"),
                (verb, CONFIG, re.escape(value) + ":2: .*many", {"CELERIAC_CONFIG": value}),
                (verb, CONFIG, re.escape(broken) + ":1", {"CELERIAC_CONFIG": broken}),
                (verb, CONFIG, "CELERIAC_LOG_LEVEL.*loud", {"CELERIAC_LOG_LEVEL": "loud"}),
            ])

    def test_a_url_that_cannot_be_used_is_status_78(self):
        for verb in (["call", "a.b"], ["result", "id"], ["queues"], ["purge", "--force", "q"]):
            self.check_all([
                ([*verb, "--broker", "http://host"], CONFIG, "Broker: The URL"),
                ([*verb, "--broker", "redis://user:hunter2@host:99999/0"], CONFIG, "port"),
                ([*verb, "--broker", "redis://host/zero"], CONFIG, "database"),
                ([*verb, "-b", "rediss://:hunter2@host"], CONFIG, "TLS"),
                (verb, CONFIG, "needs master_name", {"CELERIAC_BROKER_URL": "sentinel://:hunter2@a;sentinel://b"}),
                (verb, CONFIG, "", {"CELERIAC_BROKER_URL": "", "CELERY_BROKER_URL": "amqp://guest:hunter2@host//"}),
            ])
        self.check_all([
            (["result", "id", "--result-backend", "postgresql://host"], CONFIG, "Result backend: The URL"),
            (["result", "id", "--result-backend", "disabled"], CONFIG, "disabled"),
        ])


class Redis(Table):
    VERBS = (["call", "a.b"], ["call", "a.b", "--wait"], ["result", "id"], ["result", "id", "--wait"], ["queues"],
             ["purge", "--force", "q"])

    def test_nobody_there_is_status_69(self):
        for verb in self.VERBS:
            self.check_all([
                ([*verb, "--timeout", "300ms"], UNREACHABLE, "/nonexistent/redis.sock"),
                ([*verb, "--timeout", "300ms", "--broker", "redis://127.0.0.1:1/0"], UNREACHABLE, "127.0.0.1"),
                ([*verb, "--timeout", "1s", "--broker", "redis://:hunter2@no-such-host.invalid/0"], UNREACHABLE,
                 "no-such-host.invalid"),
            ])

    def test_a_silent_server_is_status_69(self):
        import signal

        with RedisServer(self.folder, "silent") as redis:
            redis.process.send_signal(signal.SIGSTOP)
            try:
                for verb in self.VERBS:
                    self.check([*verb, "--timeout", "300ms"], UNREACHABLE, "", {"CELERIAC_BROKER_URL": redis.url})
            finally:
                redis.process.send_signal(signal.SIGCONT)

    def test_a_wrong_password_is_status_77(self):
        with RedisServer(self.folder, "guarded", {"requirepass": "correct-horse"}) as redis:
            for verb in self.VERBS:
                self.check_all([
                    (verb, DENIED, "", {"CELERIAC_BROKER_URL": redis.url}),
                    (verb, DENIED, "", {"CELERIAC_BROKER_URL": "redis+socket://:hunter2@" + redis.socket}),
                ])

    def test_a_user_without_permission_is_status_77(self):
        with RedisServer(self.folder, "acl") as redis:
            redis.client().execute_command("ACL", "SETUSER", "reader", "on", ">hunter2", "~*", "&*", "+ping")
            for verb in self.VERBS:
                self.check(verb, DENIED, "", {"CELERIAC_BROKER_URL": "redis+socket://reader:hunter2@" + redis.socket})

    def test_a_refused_command_is_status_70(self):
        with RedisServer(self.folder, "odd") as redis:
            redis.client().set("q", "no list")
            self.check(["call", "a.b", "--queue", "q"], INTERNAL, "WRONGTYPE", {"CELERIAC_BROKER_URL": redis.url})

    def test_a_full_disk_is_told(self):
        with RedisServer(self.folder, "full") as redis, open("/dev/full", "w") as full:
            done = subprocess.run([CELERIAC, "queues", "q", "-b", redis.url], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stderr), (INTERNAL, "celeriac: cannot write to standard output\n"))


class PostgreSQL(Table):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
        cls.postgres.psql("create role guarded login password 'correct-horse'; create role weak login")
        with open(os.path.join(cls.folder, "postgres", "data", "pg_hba.conf"), "w") as rules:
            rules.write("local all celeriac trust\nlocal all weak trust\nlocal all guarded scram-sha-256\n")
        cls.postgres.psql("select pg_reload_conf()")

    def uri(self, user, database="celeriac"):
        return self.postgres.uri.replace("celeriac@/celeriac", f"{user}@/{database}")

    def test_what_migrate_says(self):
        good = {"CELERIAC_DATABASE_URL": self.postgres.uri}
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        named = os.path.dirname(self.file("named/001_short.sql", "select 1"))
        self.check_all([
            (["migrate"], CONFIG, "no database"),
            (["migrate", "--database", "mysql://u:hunter2@h/d"], CONFIG, "PostgreSQL URI"),
            (["migrate", "--database", "postgresql://x@127.0.0.1:1/d"], UNREACHABLE, "127.0.0.1.*refused"),
            (["migrate", "--database", "host=/nonexistent user=x password=hunter2"], UNREACHABLE, "/nonexistent"),
            (["migrate", "--database", self.uri("guarded")], DENIED, "password"),
            (["migrate", "--database", self.uri("guarded:hunter2")], DENIED, "password"),
            (["migrate", "--database", self.uri("nobody")], DENIED, "nobody"),
            (["migrate", "--database", self.uri("weak")], DENIED, "permission denied"),
            (["migrate", "--database", self.uri("celeriac", "missing")], CONFIG, '"missing" does not exist'),
            (["migrate", "--dir", "/nonexistent"], CONFIG, "/nonexistent", good),
            (["migrate", "--dir", empty], CONFIG, "no file NNNN_name.sql", good),
            (["migrate", "--dir", named], CONFIG, "001_short.sql", good),
        ])

    def test_a_task_waits_for_a_database_that_cannot_be_used(self):
        cases = {
            "postgresql://x@127.0.0.1:1/d": "127.0.0.1.*refused",
            self.uri("guarded:hunter2"): "password authentication failed",
            self.uri("celeriac", "missing"): '"missing" does not exist',
        }
        with RedisServer(self.folder, "tasks") as redis:
            for number, (uri, pattern) in enumerate(cases.items()):
                with self.subTest(uri=uri):
                    name = f"worker{number}"
                    with shop.worker(redis, self.postgres, self.folder, "--database", uri, name=name) as worker:
                        task_id = celeriac("call", "products.tasks.process_order", "1", redis=redis).stdout.strip()
                        wait_until(lambda: "RETRY" in celeriac("result", task_id, redis=redis).stdout, 20, "RETRY")
                        done = celeriac("result", task_id, redis=redis)
                        log = worker.text()
                    self.assertEqual(done.returncode, 0)  # not the end of it
                    self.assertRegex(done.stdout, "error .*database .*" + pattern)
                    self.assertRegex(log, pattern.replace('"', r'\\?"'))
                    self.assertNotIn("hunter2", done.stdout + log)


class Daemons(Table):
    """A daemon writes a log; what stops it is one line of it, at level error, or one line before it opens it."""

    BEAT = "[beat x]\ntask = a.b\nevery = 1s\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.guarded = cls.enterClassContext(RedisServer(cls.folder, "guarded", {"requirepass": "correct-horse"}))

    def check(self, arguments, status, pattern, environment=None):
        with self.subTest(arguments=arguments, environment=environment):
            done = celeriac(*arguments, redis=self.redis, environment={
                "CELERIAC_CONFIG": "", "CELERIAC_DATABASE_URL": "", "CELERIAC_LOG_LEVEL": "error",
                **(environment or {})})
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertRegex(done.stderr, pattern)
            self.assertNotIn("hunter2", done.stderr)

    def module(self, name):
        return os.path.join(MODULES, name + ".so")

    def test_a_worker_that_cannot_start(self):
        probe = ["worker", "-A", self.module("probe")]
        unknown = self.file("worker.ini", "[worker]\nconcurency = 4\n")
        self.check_all([
            (["worker"], USAGE, "no task module"),
            ([*probe, "--concurrency", "many"], USAGE, '--concurrency: "many"'),
            ([*probe, "--concurency", "4"], USAGE, "--concurrency"),
            ([*probe, "--config", unknown], CONFIG, re.escape(unknown) + ":2: .*concurency"),
            ([*probe, "-n", "%x"], CONFIG, "%x"),
            (["worker", "-A", "/nonexistent.so"], CONFIG, "/nonexistent.so"),
            (["worker", "-A", self.module("broken_empty")], CONFIG, "broken_empty.so: it has no tasks"),
            (["worker", "-A", self.module("broken_plain")], CONFIG, "broken_plain.so: .*CEL_TASKS"),
            (["worker", "-A", self.module("broken_symbol")], CONFIG, "broken_symbol.so: .*function_that_nobody_has"),
            (["worker", "-A", self.module("broken_version")], CONFIG, "broken_version.so: .*version"),
            (["worker", "-A", self.module("broken_params")], CONFIG, "broken_params.so: .*bad_params"),
            (["worker", "-A", self.module("needy")], CONFIG, "needy_secret"),
            (["worker", "-A", CELERIAC], CONFIG, "celeriac"),
            ([*probe, "--database", "mysql://u:hunter2@h"], CONFIG, "not a PostgreSQL URI"),
            ([*probe, "-b", "http://host"], CONFIG, "URL of the Redis server"),
            ([*probe, "-b", "redis+socket:///nonexistent/redis.sock"], UNREACHABLE, "/nonexistent/redis.sock"),
            ([*probe, "-b", "redis+socket://:hunter2@" + self.guarded.socket], DENIED, "WRONGPASS"),
            ([*probe, "-b", self.guarded.url], DENIED, "NOAUTH"),
        ])

    def test_a_beat_that_cannot_start(self):
        good = self.file("good.ini", self.BEAT)
        self.check_all([
            (["beat"], CONFIG, r"\[beat NAME\]"),
            (["beat", "--config", self.file("a.ini", self.BEAT + "task = c.d\n")], CONFIG, "a.ini:4"),
            (["beat", "--config", self.file("b.ini", "[beat x]\ntask = a.b\n")], CONFIG, r"b.ini:2: \[beat x\]"),
            (["beat", "--config", self.file("c.ini", "[beat x]\ntask = a.b\ncrontab = 99 * * * *\n")], CONFIG,
             "c.ini:3: .*99"),
            (["beat", "--config", self.file("d.ini", self.BEAT + "taks = a\n")], CONFIG, "d.ini:4: .*taks"),
            (["beat", "--config", self.file("e.ini", self.BEAT + "args = {\n")], CONFIG, "e.ini:4: .*args"),
            (["beat", "--config", self.file("f.ini", self.BEAT + "timezone = Mars/Olympus\n")], CONFIG,
             "f.ini:4: .*Mars"),
            (["beat", "--config", good, "-b", "http://host"], CONFIG, "URL of the Redis server"),
            (["beat", "--config", good, "-b", "redis+socket:///nonexistent/redis.sock"], UNREACHABLE,
             "/nonexistent/redis.sock"),
            (["beat", "--config", good, "-b", "redis+socket://:hunter2@" + self.guarded.socket], DENIED, "WRONGPASS"),
            (["beat", "--max-interval", "soon"], USAGE, '--max-interval: "soon"'),
        ])


class Arguments(Table):
    def test_a_task_that_is_called_wrongly_fails_with_celerys_words(self):
        rows = [
            (["5", "6"], r"TypeError: process_order\(\) takes 1 positional argument but 2 were given"),
            ([], r"TypeError: process_order\(\) missing 1 required positional argument: 'order_id'"),
            (["1", "--nope", "2"], r"TypeError: process_order\(\) got an unexpected keyword argument 'nope'"),
            (["1", "--order-id", "2"], r"TypeError: process_order\(\) got multiple values for argument 'order_id'"),
            (["text"], "TypeError: .*'order_id' must be an integer, not text"),
            (["1.5"], "TypeError: .*'order_id' must be an integer, not float"),
            (["null"], "TypeError: .*'order_id' must be an integer, not null"),
        ]
        with RedisServer(self.folder) as redis, PostgresServer(self.folder) as postgres:
            with shop.worker(redis, postgres, self.folder):
                for words, pattern in rows:
                    self.check(["call", "products.tasks.process_order", *words, "--wait=20s"], 1, pattern,
                               {"CELERIAC_BROKER_URL": redis.url})
                self.check(["call", "no.such.task", "--wait=20s"], 1, "NotRegistered: no.such.task",
                           {"CELERIAC_BROKER_URL": redis.url})


if __name__ == "__main__":
    unittest.main()
