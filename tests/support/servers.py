"""Private servers and Celeriac's own processes for tests, the demo and the benches.

Everything lives in a temporary folder and on unix sockets; everything is ended by the pid that was
started here, also when a test fails. PostgreSQL never runs as root.
"""
import contextlib
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CELERIAC_BUILD", os.path.join(ROOT, "build"))
CELERIAC = os.path.join(BUILD, "bin", "celeriac")
MODULES = os.path.join(BUILD, "modules")
NOTIFY = object()


def wait_until(condition, seconds=10.0, what="condition", interval=0.01):
    """Returns the first true value of condition(); fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(interval)


@contextlib.contextmanager
def temporary_folder(prefix):
    folder = tempfile.mkdtemp(prefix=prefix)
    os.chmod(folder, 0o755)  # PostgreSQL runs as another user when we are root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stop_process(process, first=signal.SIGTERM, seconds=10.0):
    """Ends a process that was started here: `first`, then SIGKILL."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def thaw(pids):
    """SIGCONT to each; the first, a supervisor, may have ended the others before it is their turn."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def free_port():
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A redis-server on a unix socket; `options` are lines of redis.conf as a dict. With a `port` it is
    on the loopback as well, and its URL says so."""

    def __init__(self, folder, name="redis", options=None, port=0):
        self.socket = os.path.join(folder, name + ".sock")
        self.port = port
        self.folder = os.path.join(folder, name)
        self.options = {"save": '""', "appendonly": "no", **(options or {})}
        self.process = None
        os.makedirs(self.folder, exist_ok=True)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0" if self.port else "redis+socket://" + self.socket

    def start(self):
        arguments = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket,
                     "--dir", self.folder]
        for key, value in self.options.items():
            arguments += ["--" + key, *([""] if value == '""' else str(value).split())]
        self.log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
        wait_until(lambda: self.answers() or self.process.poll() is not None, 10, "redis-server answers")
        if self.process.poll() is not None:
            raise AssertionError("redis-server ended: " + open(self.log.name).read())
        return self

    def answers(self):
        if not os.path.exists(self.socket):
            return False
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(self.socket)
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
                return reply[:1] in (b"+", b"-") and not reply.startswith(b"-LOADING")
            except OSError:
                return False

    def client(self):
        import redis

        return redis.Redis(unix_socket_path=self.socket, password=self.options.get("requirepass"))

    def stop(self, first=signal.SIGTERM):
        if self.process:
            stop_process(self.process, first)
            self.process = None
            self.log.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Sentinels:
    """Processes of redis-server --sentinel that watch `master` (a RedisServer with a port) under `name`."""

    def __init__(self, folder, master, name="shop", count=3, quorum=2, down_after_ms=300, lines=()):
        self.folder, self.name, self.count = folder, name, count
        self.ports = [free_port() for _ in range(count)]
        self.processes = [None] * count
        for index, port in enumerate(self.ports):
            os.makedirs(self.path(index), exist_ok=True)
            with open(os.path.join(self.path(index), "sentinel.conf"), "w") as file:
                file.write(f"port {port}\nbind 127.0.0.1\ndir {self.path(index)}\n"
                           f"sentinel monitor {name} 127.0.0.1 {master.port} {quorum}\n"
                           f"sentinel down-after-milliseconds {name} {down_after_ms}\n"
                           f"sentinel failover-timeout {name} 3000\n")
                file.writelines(line + "\n" for line in lines)

    def path(self, index):
        return os.path.join(self.folder, f"sentinel{index}")

    @property
    def url(self):
        hosts = ";".join(f"sentinel://127.0.0.1:{port}" for port in self.ports)
        return f"{hosts}?master_name={self.name}"

    def client(self, index=0, **options):
        import redis

        return redis.Redis(port=self.ports[index], decode_responses=True, socket_timeout=5, **options)

    def start_one(self, index):
        with open(os.path.join(self.path(index), "log"), "ab") as log:
            self.processes[index] = subprocess.Popen(
                ["redis-server", os.path.join(self.path(index), "sentinel.conf"), "--sentinel"], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True)

    def start(self, replicas=1):
        for index in range(self.count):
            self.start_one(index)
        for index in range(self.count):
            wait_until(lambda: self.is_ready(index, replicas), 20, "the sentinels know each other", 0.05)
        return self

    def is_ready(self, index, replicas):
        import redis

        try:
            words = self.client(index).execute_command("SENTINEL", "MASTER", self.name)
        except redis.exceptions.RedisError:
            return False
        master = dict(zip(words[::2], words[1::2]))
        return (master["flags"] == "master" and int(master["num-other-sentinels"]) == self.count - 1
                and int(master["num-slaves"]) == replicas)

    def master_port(self, index=0):
        return int(self.client(index).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])

    def stop(self):
        for process in self.processes:
            if process:
                stop_process(process)
        self.processes = [None] * self.count

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class PostgresServer:
    """A PostgreSQL cluster of its own on a unix socket; database and superuser "celeriac". `port` is that of
    its TCP side, which listen_addresses opens."""

    def __init__(self, folder, name="postgres", options=None, port=5432):
        self.folder, self.port = os.path.join(folder, name), port
        self.options = {
            "listen_addresses": "", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
            "max_connections": "200", "log_min_messages": "warning", **(options or {}),
        }
        self.process = None
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        os.makedirs(self.folder, exist_ok=True)
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.become = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        else:
            self.become = []

    @property
    def uri(self):
        host = self.folder.replace("/", "%2F")
        return f"postgresql://celeriac@/celeriac?host={host}" + (f"&port={self.port}" if self.port != 5432 else "")

    def start(self):
        data = os.path.join(self.folder, "data")
        self.log = open(os.path.join(os.path.dirname(self.folder), "postgres.log"), "ab")
        if not os.path.exists(data):
            subprocess.run(
                [*self.become, os.path.join(self.bin, "initdb"), "-D", data, "-U", "celeriac", "-A", "trust",
                 "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
                check=True, stdout=self.log, stderr=self.log, cwd="/")
        arguments = [*self.become, os.path.join(self.bin, "postgres"), "-D", data, "-k", self.folder, "-p",
                     str(self.port)]
        for key, value in self.options.items():
            arguments += ["-c", f"{key}={value}"]
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        cwd="/", start_new_session=True)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError("postgres ended: " + open(self.log.name).read())
            return self.psql("select 1", database="postgres", check=False).returncode == 0

        wait_until(ready, 30, "postgres answers", 0.05)
        if self.sql("select 1 from pg_database where datname = 'celeriac'", database="postgres") != "1":
            self.psql("create database celeriac", database="postgres")
        return self

    def psql(self, sql, database="celeriac", check=True, user="celeriac"):
        return subprocess.run(
            ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", str(self.port), "-U", user,
             "-d", database, "-c", sql],
            capture_output=True, text=True, check=check)

    def sql(self, text, **options):
        """What the last statement of `text` answers."""
        return self.psql(text, **options).stdout.strip()

    def connect(self):
        import psycopg2

        return psycopg2.connect(host=self.folder, port=self.port, user="celeriac", dbname="celeriac")

    def stop(self, first=signal.SIGINT):  # SIGINT: fast shutdown
        if self.process:
            stop_process(self.process, first, 20)
            self.process = None
            self.log.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Daemon:
    """`celeriac worker` or `celeriac beat`, or any other command, with its log in a file."""

    def __init__(self, arguments, folder, name="worker", environment=None, ready=None):
        self.arguments = arguments
        self.log_path = os.path.join(folder, name + ".log")
        self.environment = {**os.environ, **(environment or {})}
        self.ready = ready  # text in the log that means "up", or NOTIFY: it says so itself (sd_notify)
        self.process = None

    def start(self, seconds=20.0):
        self.log = open(self.log_path, "ab")
        self.before = os.path.getsize(self.log_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
            environment = dict(self.environment)
            if self.ready is NOTIFY:
                environment["NOTIFY_SOCKET"] = self.log_path + ".notify"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(environment["NOTIFY_SOCKET"])
                manager.bind(environment["NOTIFY_SOCKET"])
            self.process = subprocess.Popen(self.arguments, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                            env=environment, start_new_session=True)
            try:
                self.wait_ready(manager, seconds)
            except BaseException:
                self.stop(signal.SIGKILL)
                raise
        return self

    def wait_ready(self, manager, seconds):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"{self.arguments[:3]} ended with {self.process.returncode}:\n{self.text(self.before)}")
            if self.ready is not NOTIFY:
                return self.ready in self.text(self.before)
            with contextlib.suppress(BlockingIOError):
                return b"READY=1" in manager.recv(4096)

        if self.ready:
            wait_until(ready, seconds, f"{self.arguments[:3]} is up:\n{self.text(self.before)}")

    @property
    def pid(self):
        return self.process.pid

    def text(self, offset=0):
        with open(self.log_path, errors="replace") as file:
            file.seek(offset)
            return file.read()

    def says(self, pattern, times=None, seconds=10.0):
        """Its log has that (so often), soon: a line may be written after what it speaks of is seen in the servers."""
        def count():
            return len(re.findall(pattern, self.text()))

        wait_until(lambda: count() >= (times or 1), seconds, f"{pattern!r} in the log")
        assert times in (None, count()), f"{pattern!r} {count()} times in {self.text()}"

    def send_signal(self, number):
        self.process.send_signal(number)

    def report(self, children=0, seconds=10.0):
        """What it says when it is asked (SIGUSR1), with lines for so many children."""
        before = os.path.getsize(self.log_path)
        self.send_signal(signal.SIGUSR1)

        def said():
            text = self.text(before)
            return text if re.search("msg=Report .*\n", text) and text.count("msg=Child ") >= children else None

        return wait_until(said, seconds, f"a report of {self.arguments[:3]}")

    def wait(self, seconds=20.0):
        return self.process.wait(seconds)

    def stop(self, first=signal.SIGTERM, seconds=20.0):
        status = None
        if self.process:
            status = stop_process(self.process, first, seconds)
            self.process = None
            self.log.close()
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def celeriac_worker(redis, folder, modules, *arguments, postgres=None, name="worker", environment=None):
    """A `celeriac worker` on `redis` (and `postgres`); `modules` are paths or names below build/modules."""
    paths = [path if "/" in path else os.path.join(MODULES, path + ".so") for path in modules]
    command = [CELERIAC, "worker", "-b", redis.url]
    for path in paths:
        command += ["-A", path]
    settings = dict(environment or {})
    if postgres:
        settings["CELERIAC_DATABASE_URL"] = postgres.uri
    return Daemon([*command, *arguments], folder, name, settings, ready=NOTIFY)


def lua_script(name):
    """The text of commands/<name>.lua as the server has it: with what it includes."""
    def text_of(file_name):
        with open(os.path.join(ROOT, "commands", file_name)) as file:
            return file.read()

    return re.sub(r"-- include (\w+)\n", lambda found: text_of(f"part_{found[1]}.lua"), text_of(name + ".lua"))


def revoke(client, id, signal_name="", kept_ms=86400000):
    """As celeriac revoke does, without starting a process for each."""
    return client.eval(lua_script("revoke"), 3, "celeriac:revoked", "celeriac:revoked:newest",
                       "celeriac:revoked:until", kept_ms, id, "", "", signal_name)


def celeriac(*arguments, redis=None, environment=None, check=False, seconds=30):
    """Runs a verb of the executable to its end; returns the CompletedProcess with text output."""
    settings = {**os.environ, **(environment or {})}
    if redis:
        settings["CELERIAC_BROKER_URL"] = redis.url
    return subprocess.run([CELERIAC, *arguments], capture_output=True, text=True, env=settings, check=check,
                          timeout=seconds, stdin=subprocess.DEVNULL)
