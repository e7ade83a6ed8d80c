"""The units, the folders and the example configuration, as systemd's own tools and the program see them."""
import os
import re
import subprocess
import unittest

from support.servers import BUILD, CELERIAC, ROOT, RedisServer, celeriac, temporary_folder

UNITS = ("celeriac-worker@.service", "celeriac-beat.service")
EXAMPLE = os.path.join(ROOT, "systemd", "celeriac.ini.example")
EXPOSURE_MAX = 25  # tenths


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|min)", text).groups()
    return int(number) * (60 if unit == "min" else 1)


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = temporary_folder("celeriac-units-")
        cls.folder = folder.__enter__()
        cls.addClassCleanup(folder.__exit__, None, None, None)
        cls.text = {}
        for unit in UNITS:
            with open(os.path.join(BUILD, "systemd", unit)) as file:
                text = file.read()
            # The program need not be installed: the units of the test start the one that was built.
            cls.text[unit], count = re.subn(r"^ExecStart=\S+/bin/celeriac ", f"ExecStart={CELERIAC} ", text,
                                            flags=re.MULTILINE)
            assert count == 1, unit
            with open(os.path.join(cls.folder, unit), "w") as file:
                file.write(cls.text[unit])

    def settings(self, unit):
        return dict(re.findall(r"^(\w+)=(.*)$", self.text[unit], flags=re.MULTILINE))

    def test_systemd_finds_nothing_to_complain_about(self):
        for unit in UNITS:
            with self.subTest(unit):
                done = run("systemd-analyze", "verify", "--man=no", os.path.join(self.folder, unit))
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_verify_would_complain(self):
        path = os.path.join(self.folder, "celeriac-bad.service")
        with open(path, "w") as file:
            file.write(self.text["celeriac-beat.service"].replace("KillMode=mixed", "KillMode=gentle"))
        done = run("systemd-analyze", "verify", "--man=no", path)
        self.assertIn("gentle", done.stderr)

    def test_exposure(self):
        for unit in UNITS:
            with self.subTest(unit):
                path = os.path.join(self.folder, unit)
                done = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"--threshold={EXPOSURE_MAX}", path)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
                self.assertLessEqual(float(exposure[1]) * 10, EXPOSURE_MAX)
                tight = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=1", path)
                self.assertNotEqual(tight.returncode, 0, "the threshold has no effect")

    def test_what_operators_rely_on(self):
        for unit in UNITS:
            settings = self.settings(unit)
            self.assertEqual(settings["Type"], "notify")
            self.assertEqual(settings["KillMode"], "mixed")
            self.assertIn("78", settings["RestartPreventExitStatus"].split())
            self.assertGreater(seconds(settings["WatchdogSec"]), 0)
            self.assertIn("MemoryHigh", settings)
            self.assertIn("MemoryMax", settings)
            # sockets to Redis, PostgreSQL and mail
            self.assertEqual(set(settings["RestrictAddressFamilies"].split()), {"AF_UNIX", "AF_INET", "AF_INET6"})
            self.assertNotIn("IPAddressDeny", settings)
            self.assertNotIn("PrivateNetwork", settings)
            self.assertNotIn("NoExecPaths", settings)  # modules
        worker = self.settings(UNITS[0])
        self.assertEqual(worker["ExecReload"], "/bin/kill -HUP $MAINPID")
        self.assertIn("/etc/celeriac/%i.ini", worker["ExecStart"])
        self.assertEqual(worker["EnvironmentFile"], "-/etc/celeriac/%i.env")
        with open(EXAMPLE) as file:
            limit = re.search(r"^warm_shutdown_limit = (\w+)$", file.read(), flags=re.MULTILINE)
        self.assertLess(seconds(limit[1]), seconds(worker["TimeoutStopSec"]))

    def test_user_and_folders(self):
        os.makedirs(os.path.join(self.folder, "etc"), exist_ok=True)
        users = run("systemd-sysusers", "--dry-run", f"--root={self.folder}",
                    os.path.join(ROOT, "systemd", "celeriac.sysusers"))
        self.assertEqual(users.returncode, 0, users.stderr)
        self.assertRegex(users.stderr + users.stdout, r"user 'celeriac'")
        with open(os.path.join(ROOT, "systemd", "celeriac.tmpfiles")) as file:
            lines = [line.split() for line in file if not line.startswith("#")]
        self.assertEqual({line[1] for line in lines}, {"/etc/celeriac", "/var/lib/celeriac"})
        self.assertTrue(all(line[0] == "d" and line[2] == "0750" for line in lines))


class Example(unittest.TestCase):
    def setUp(self):
        folder = temporary_folder("celeriac-example-")
        self.folder = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        self.redis = RedisServer(self.folder, options={"requirepass": "secret"}).start()
        self.addCleanup(self.redis.stop)
        with open(EXAMPLE) as file:
            self.example = file.read()
        # "#key = value" is a setting that is commented out; "# Words" are words
        self.all_on = re.sub(r"^#(\w+ =)", r"\1", self.example, flags=re.MULTILINE)

    def load(self, verb, text):
        """A daemon reads the whole file before it asks Redis, which refuses it: then it has loaded."""
        path = os.path.join(self.folder, "celeriac.ini")
        with open(path, "w") as file:
            file.write(text)
        return celeriac(verb, "--config", path, "-b", self.redis.url)

    def test_it_loads_as_it_stands_and_with_every_setting_on(self):
        self.assertNotEqual(self.example, self.all_on)
        for text in (self.example, self.all_on):
            done = self.load("beat", text)
            self.assertEqual(done.returncode, 77, done.stderr)

    def test_a_fault_in_it_would_be_found(self):
        done = self.load("beat", self.example.replace("crontab = 0 9 * * *", "crontab = 0 9 * * 8"))
        self.assertEqual(done.returncode, 78)
        done = self.load("beat", self.example.replace("warm_shutdown_limit", "warm_shutdown_limits"))
        self.assertEqual(done.returncode, 78)

    def test_it_names_every_setting_with_its_default(self):
        sections, section = {}, None
        for line in self.all_on.splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif (found := re.fullmatch(r"(\w+) =(.*)", line)) and section is not None:
                section[found[1]] = found[2].strip()
        rows = re.findall(r"^\| `\[(\w+)\] (\w+)` \|.*\| (?:`([^`]*)`)? *\| [^|]* \|$",
                          celeriac("--settings", check=True).stdout, flags=re.MULTILINE)
        self.assertGreater(len(rows), 15)
        for name, key, otherwise in rows:
            with self.subTest(f"[{name}] {key}"):
                self.assertIn(key, sections[name])
                if f"#{key} =" in self.example:
                    self.assertEqual(sections[name][key], otherwise)
        known = {(name, key) for name, key, _ in rows}
        for name in ("celeriac", "worker", "beat"):
            self.assertEqual({(name, key) for key in sections[name]} - known, set())

    def test_the_worker_loads_it_with_the_modules_of_the_example(self):
        module = os.path.join(BUILD, "modules", "shop.so")
        text = re.sub(r"^modules = .*$", f"modules = {module}", self.all_on, flags=re.MULTILINE)
        done = self.load("worker", text)
        self.assertEqual(done.returncode, 77, done.stderr)


if __name__ == "__main__":
    unittest.main()
