"""What stands between a worker and its databases: TLS, service and password files, several servers, a pooler;
and which database a task is given."""
import os
import shutil
import subprocess
import time

from integration.worker.calls import WorkerTest
from support.servers import CELERIAC, Daemon, PostgresServer, celeriac, free_port, stop_process, temporary_folder, wait_until

ADD = "UPDATE account SET total = total + 1"
WHERE = "SELECT current_setting('cluster_name') AS value"


class Databases(WorkerTest):
    def server_of(self, name, **options):
        folder = temporary_folder("celeriac-pg-")  # a short path: a socket stands in it
        path = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        postgres = PostgresServer(path, name="pg", options={"cluster_name": name, **options}, port=free_port())
        self.addCleanup(postgres.stop)
        return postgres

    def retry(self, id):
        """The reason why `id` is tried again."""
        return self.wait(id, 20, ("RETRY",))["result"]["exc_message"][0]


class Files(Databases):
    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def make_certificates(self, postgres):
        """A CA, another one that signed nothing, and a certificate for "localhost"."""
        for name in ("ca", "other"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                         "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                     "-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.csr")
        with open(os.path.join(self.folder, "extensions"), "w") as file:
            file.write("subjectAltName=DNS:localhost\n")
        self.openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                     "2", "-extfile", "extensions", "-out", "server.crt")
        status = os.stat(postgres.folder)
        for name in ("server.key", "server.crt"):
            path = os.path.join(postgres.folder, name)
            shutil.copy(os.path.join(self.folder, name), path)
            os.chown(path, status.st_uid, status.st_gid)
            os.chmod(path, 0o600)

    def test_verify_full_takes_the_right_certificate_and_name_alone(self):
        postgres = self.server_of("tls")
        self.make_certificates(postgres)
        postgres.options.update({"listen_addresses": "127.0.0.1", "ssl": "on",
                                 "ssl_cert_file": os.path.join(postgres.folder, "server.crt"),
                                 "ssl_key_file": os.path.join(postgres.folder, "server.key")})
        postgres.start()
        with open(os.path.join(postgres.folder, "data", "pg_hba.conf"), "w") as file:
            file.write("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
        postgres.psql("SELECT pg_reload_conf()")

        def uri(host, mode, ca):
            return (f"postgresql://celeriac@{host}:{postgres.port}/celeriac?sslmode={mode}"
                    f"&sslrootcert={os.path.join(self.folder, ca + '.crt')}")

        with open(os.path.join(self.folder, "worker.ini"), "w") as file:
            file.write(f"[database]\ndefault = {uri('localhost', 'verify-full', 'ca')}\n"
                       f"wrong_name = {uri('127.0.0.1', 'verify-full', 'ca')}\n"
                       f"name_unchecked = {uri('127.0.0.1', 'verify-ca', 'ca')}\n"
                       f"wrong_ca = {uri('localhost', 'verify-full', 'other')}\n"
                       f"plain = {uri('localhost', 'disable', 'ca')}\n")
        self.worker("-c", "1", "--config", os.path.join(self.folder, "worker.ini"))
        is_encrypted = "SELECT ssl::text AS value FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        self.assertEqual(self.get(self.send("tests.sql", is_encrypted)), "true")
        self.assertEqual(self.get(self.send("tests.sql", is_encrypted, "name_unchecked")), "true")
        for name, words in (("wrong_name", "does not match host name"), ("wrong_ca", "certificate verify failed"),
                            ("plain", "no encryption")):
            self.assertIn(words, self.retry(self.send("tests.sql", "SELECT 1", name)))
        # the request to cancel, which libpq 15 sends as it is, is taken, too
        begin = time.monotonic()
        id = self.send("tests.sql", "SELECT pg_sleep(600)", timelimit=[None, 1])
        self.assertEqual(self.failure(id, 20)[0], "SoftTimeLimitExceeded")
        self.assertLess(time.monotonic() - begin, 15)

    def test_service_and_password_files(self):
        postgres = self.server_of("files").start()
        postgres.psql("CREATE ROLE shop LOGIN PASSWORD 'S3cr3tWord'")
        with open(os.path.join(postgres.folder, "data", "pg_hba.conf"), "w") as file:
            file.write("local all celeriac trust\nlocal all all scram-sha-256\n")
        postgres.psql("SELECT pg_reload_conf()")
        service, passwords = (os.path.join(self.folder, name) for name in ("services", "passwords"))
        with open(service, "w") as file:
            file.write(f"[shop]\nhost={postgres.folder}\nport={postgres.port}\nuser=shop\ndbname=celeriac\n")
        with open(passwords, "w") as file:
            file.write("*:*:celeriac:shop:S3cr3tWord\n")
        os.chmod(passwords, 0o600)
        worker = self.worker("-c", "1", "--database", "service=shop",
                             environment={"PGSERVICEFILE": service, "PGPASSFILE": passwords})
        self.assertEqual(self.get(self.send("tests.sql", "SELECT current_user AS value")), "shop")
        with open(passwords, "w") as file:
            file.write("*:*:celeriac:shop:wrong\n")
        postgres.psql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'shop'")
        self.assertIn("password authentication failed", self.retry(self.send("tests.sql", "SELECT 1")))
        self.assertNotIn("S3cr3tWord", worker.text())


class Failover(Databases):
    def test_the_server_that_can_be_written_to_is_found(self):
        first = self.server_of("first").start()
        second = self.server_of("second").start()
        second.psql("ALTER SYSTEM SET default_transaction_read_only = on")
        second.psql("SELECT pg_reload_conf()")
        hosts = ",".join(server.folder.replace("/", "%2F") for server in (second, first))
        uri = (f"postgresql://celeriac@/celeriac?host={hosts}&port={second.port},{first.port}"
               "&target_session_attrs=read-write")
        self.worker("-c", "1", "--database", uri)
        self.assertEqual(self.get(self.send("tests.sql", WHERE)), "first")

        # the first one is away, and the other one not promoted yet: tried again
        first.stop()
        id = self.send("tests.script_once", ["SELECT 1"])
        self.assertIn("cannot connect", self.retry(id))
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": second.uri + "&options=-cdefault_transaction_read_only%3Doff"},
                 check=True)
        second.psql("ALTER SYSTEM RESET default_transaction_read_only")
        second.psql("SELECT pg_reload_conf()")
        self.get(id, 20)
        self.assertEqual(self.get(self.send("tests.sql", WHERE)), "second")

        # a server that is demoted under a connection that stays open is left
        first.start()
        self.assertEqual(self.get(self.send("tests.sql", WHERE)), "second")
        second.psql("ALTER SYSTEM SET default_transaction_read_only = on")
        second.psql("SELECT pg_reload_conf()")
        wait_until(lambda: second.sql("SHOW default_transaction_read_only") == "on", 10, "the reload")
        # the reload reaches the worker's own session by its next statement
        self.get(self.send("tests.sql", "SELECT 1 AS value"))
        self.assertIn("(SQLSTATE 25006)", self.retry(self.send("tests.sql", "CREATE TABLE made_here ()")))
        self.assertEqual(self.get(self.send("tests.sql", WHERE)), "first")


class Router(Databases):
    def test_a_router_names_the_database_of_a_task(self):
        postgres = self.server_of("routed").start()
        lines = ["[database]", f"default = {postgres.uri}"]
        for name in ("north", "south"):
            postgres.psql(f"CREATE DATABASE {name}")
            lines.append(f"{name} = {postgres.uri.replace('/celeriac?', f'/{name}?')}")
            celeriac("migrate", environment={"CELERIAC_DATABASE_URL": lines[-1].partition(" = ")[2]}, check=True)
        for name in ("celeriac", "north", "south"):
            postgres.psql("CREATE TABLE visit (n int)", database=name)
        with open(os.path.join(self.folder, "worker.ini"), "w") as file:
            file.write("\n".join(lines) + "\n")
        self.worker("-c", "1", "--config", os.path.join(self.folder, "worker.ini"), modules=("probe", "routed"))
        visits = lambda name: int(postgres.psql("SELECT count(*) FROM visit", database=name).stdout)
        for task in ("routed.run", "routed.in_transaction", "routed.once"):
            for tenant in ("north", "south", "looked up"):
                name = "south" if tenant == "looked up" else tenant
                before = visits(name)
                self.assertEqual(self.get(self.send(task, tenant)), name)
                self.assertEqual(visits(name), before + 1)
        self.assertEqual(visits("celeriac"), 0)
        self.assertEqual(postgres.sql("SELECT count(*) FROM celeriac.effect", database="south"), "2")
        self.assertIn("transaction of its own", self.failure(self.send("routed.commit", "south"))[2][0])
        for tenant in ("nobody", "wavering"):
            self.assertEqual(self.failure(self.send("routed.run", tenant))[::2],
                             ("RuntimeError", ["the module's router (CEL_ROUTER) named no database"]))
        for task in ("routed.run", "routed.once"):
            self.assertEqual(self.failure(self.send(task, "broke"))[::2], ("TenantSuspended", ["it has not paid"]))
        self.assertIn('database "east": it is not configured', self.failure(self.send("routed.run", "east"))[2][0])
        self.assertEqual(self.get(self.send("tests.sql", "SELECT current_database() AS value")), "celeriac")


class Pooler(Databases):
    """PgBouncer in transaction mode, with fewer sessions than there are clients."""

    def setUp(self):
        super().setUp()
        self.postgres = self.server_of("pooled").start()
        self.sql("CREATE TABLE account (total int NOT NULL); INSERT INTO account VALUES (0)")
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": self.postgres.uri}, check=True)
        self.start_pooler()

    def sql(self, text):
        return self.postgres.sql(text)

    def total(self):
        return int(self.sql("SELECT total FROM account"))

    def start_pooler(self, pool_size=2):
        folder = os.path.join(self.postgres.folder, "pooler")
        os.mkdir(folder)
        with open(os.path.join(folder, "users"), "w") as file:
            file.write('"celeriac" ""\n')
        with open(os.path.join(folder, "ini"), "w") as file:
            file.write(f"[databases]\nceleriac = host={self.postgres.folder} port={self.postgres.port} pool_size={pool_size}"
                       " connect_query='SET client_connection_check_interval = 250'\n"
                       f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_addr =\nlisten_port = 6432\n"
                       f"auth_type = trust\nauth_file = {folder}/users\npool_mode = transaction\n")
        status = os.stat(self.postgres.folder)
        for path in (folder, os.path.join(folder, "users"), os.path.join(folder, "ini")):
            os.chown(path, status.st_uid, status.st_gid)
        self.uri = "postgresql://celeriac@/celeriac?port=6432&host=" + folder.replace("/", "%2F")
        log = open(os.path.join(folder, "log"), "ab")
        self.addCleanup(log.close)
        self.pooler = subprocess.Popen([*self.postgres.become, "/usr/sbin/pgbouncer", os.path.join(folder, "ini")], stdout=log,
                                       stderr=log, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True)
        self.addCleanup(stop_process, self.pooler)
        wait_until(lambda: os.path.exists(os.path.join(folder, ".s.PGSQL.6432")), 10, "the pooler")

    def test_tasks_of_all_kinds_work_through_it(self):
        self.worker("-c", "4", "--database", self.uri)
        ids = [self.send("tests.script", ["SELECT 1", "SELECT 1", ADD, "SELECT 1"]) for _ in range(20)]
        ids += [self.send("tests.script", ["BEGIN", ADD, "SAVEPOINT a", "-SELECT 1/0", "ROLLBACK TO a", "COMMIT"])
                for _ in range(20)]
        ids += [self.send("tests.script_in_transaction", [ADD, "SELECT 1", "SELECT 1"]) for _ in range(20)]
        once = [self.send("tests.script_once", [ADD, "SELECT 1"], timelimit=[60, 50]) for _ in range(20)]
        ids += [self.send("tests.script", ["BEGIN", "DB SEND tests.noop", "COMMIT"]) for _ in range(5)]
        for id in ids + once:
            self.get(id, 30)
        self.assertEqual(self.total(), 80)
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.effect"), "20")
        self.assertEqual(self.sql("SELECT count(*) FROM celeriac.outbox"), "5")
        self.assertLessEqual(int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                                          " AND pid <> pg_backend_pid()")), 2)

    def test_nothing_is_left_behind_in_a_session(self):
        self.worker("-c", "4", "--database", self.uri)
        steps = ["SELECT 1", "SELECT 1", "SELECT 1"]
        for task in ("tests.script", "tests.script_in_transaction", "tests.script_once"):
            for id in [self.send(task, steps, timelimit=[60, 50]) for _ in range(8)]:
                self.get(id, 20)
        # every session that there is, held at once
        asked = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-d", self.uri, "-c",
                                "SELECT current_setting('statement_timeout') || current_setting('lock_timeout') || "
                                "(SELECT count(*) FROM pg_prepared_statements)"], capture_output=True, text=True, check=True)
        self.assertEqual(asked.stdout.strip(), "000")

    def test_the_limits_reach_the_server_behind_it(self):
        self.worker("-c", "1", "--database", self.uri)
        running = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active'"
                   " AND pid <> pg_backend_pid()")
        for task in ("tests.script", "tests.script_in_transaction"):
            id = self.send(task, ["SELECT pg_sleep(600)"], timelimit=[2, None])
            wait_until(lambda: self.sql(running) == "1", 10, "the statement")
            self.assertEqual(self.failure(id, 20)[0], "TimeLimitExceeded")
            wait_until(lambda: self.sql(running) == "0", 10, "its end")
            id = self.send(task, ["SELECT pg_sleep(600)"], timelimit=[None, 1])
            self.assertEqual(self.failure(id, 20)[0], "SoftTimeLimitExceeded")
            self.assertEqual(self.sql(running), "0")
        self.assertEqual(self.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), "0")

    def test_the_outbox_is_relayed_through_it_by_looking(self):
        with Daemon([CELERIAC, "beat", "-b", self.server.url, "--database", self.uri], self.folder, "beat"):
            self.worker("-c", "1", "--database", self.uri)
            self.get(self.send("tests.script", ["BEGIN", "DB SEND tests.noop", "COMMIT"]))
            wait_until(lambda: self.sql("SELECT count(*) FROM celeriac.outbox") == "0", 20, "the outbox is empty")
        self.wait_idle()

    def test_a_migration_is_refused(self):
        refused = celeriac("migrate", "--database", self.uri)
        self.assertEqual(refused.returncode, 78, refused)
        self.assertIn("a pooler stands before the database", refused.stderr)

