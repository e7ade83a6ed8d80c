"""Help and manual say what the program does: no verb, option or status is missing from them."""
import os
import re
import unittest

from support.servers import ROOT, celeriac

VERBS = ("worker", "beat", "call", "result", "queues", "purge", "revoke", "dead", "delayed", "audit", "history", "inspect", "control",
         "status", "migrate", "demo")
STATUSES = ("0", "1", "2", "69", "70", "77", "78")


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(ROOT, "docs", "operations.md")) as file:
            cls.operations = file.read()

    def output(self, *arguments):
        done = celeriac(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def test_help_lists_every_verb(self):
        text = self.output("--help")
        self.assertEqual(text, self.output("-h"))
        for verb in VERBS:
            self.assertRegex(text, rf"(?m)^  {verb} +\w")

    def test_each_verb_has_help_with_examples_and_statuses(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                text = self.output(verb, "--help")
                self.assertEqual(text, self.output(verb, "-h"))
                self.assertIn("Usage: celeriac " + verb, text)
                self.assertRegex(text, r"(?m)^Examples:\n  \S")
                for status in ("0", "2", "69", "70", "77", "78"):
                    self.assertRegex(text, rf"(?m)^ +{status}  \w")

    def test_help_needs_no_good_configuration(self):
        done = celeriac("worker", "--config", "/nonexistent", "--help", environment={"CELERIAC_LOG_LEVEL": "loud"})
        self.assertEqual(done.returncode, 0)

    def test_version(self):
        with open(os.path.join(ROOT, "CMakeLists.txt")) as file:
            version = re.search(r"project\(celeriac VERSION ([\d.]+)", file.read())[1]
        self.assertEqual(self.output("--version"), f"celeriac {version}\n")

    def test_the_manual_has_the_table_of_settings(self):
        begin, end = "<!-- settings: celeriac --settings -->\n", "<!-- end of settings -->\n"
        table = self.operations.split(begin)[1].split(end)[0]
        self.assertEqual(table.strip(), self.output("--settings").strip(),
                         "docs/operations.md: replace the table by the output of `celeriac --settings`")

    def test_the_manual_has_every_verb_option_and_status(self):
        for status in STATUSES:
            self.assertRegex(self.operations, rf"(?m)^\| {status} \|")
        for verb in VERBS:
            self.assertIn(f"### celeriac {verb}\n", self.operations)
            section = self.operations.split(f"### celeriac {verb}\n")[1].split("\n### ")[0]
            shared = set(re.findall(r"`--([a-z-]+)`", self.operations.split("<!-- settings")[1]))
            options = self.output(verb, "--help").split("Options:")[1].split("Examples:")[0]
            for flag in re.findall(r"(?m)^ {2,6}(?:-\w, )?--([a-z-]+)", options):
                if flag not in shared | {"help"}:
                    self.assertIn("--" + flag, section, f"--{flag} of {verb} is not in docs/operations.md")


if __name__ == "__main__":
    unittest.main()
