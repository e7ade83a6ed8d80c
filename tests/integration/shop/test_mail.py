"""products.tasks.send_email_notification, run by a worker against a real SMTP server and into a folder."""
import hashlib
import json
import os
import time
import unittest
from email import message_from_bytes, policy

from integration.shop.case import ShopCase
from integration.shop.mail_server import PASSWORD, USER, MailServer, SilentServer, free_port, make_certificate
from support.servers import wait_until

TASK = "send_email_notification"


class MailCase(ShopCase):
    database = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certificate, cls.key_pair = make_certificate(cls.folder)

    def serve(self, **options):
        return self.enterContext(MailServer(self.key_pair, **options))

    def worker_of(self, server, *arguments, scheme="smtp", **settings):
        return self.worker(*arguments, mail_url=f"{scheme}://127.0.0.1:{server.port}", **settings)

    def work_with(self, server, *arguments, **settings):
        return self.enterContext(self.worker_of(server, *arguments, **settings))

    def send(self, recipients, subject="Hello", text="It works"):
        return self.call(TASK, subject, text, json.dumps(recipients))

    def delivered(self, *arguments, **options):
        document = self.ended(self.send(*arguments, **options))
        self.assertEqual(document["status"], "SUCCESS", document)

    def refused(self, *arguments, **options):
        document = self.ended(self.send(*arguments, **options))
        self.assertEqual(document["status"], "FAILURE", document)
        return self.failure(document)

    def retried(self, task_id):
        """The reason of a first retry."""
        wait_until(lambda: self.stored(task_id)["status"] == "RETRY", 10, "the mail is to be retried")
        return self.failure(self.stored(task_id))


class Delivery(MailCase):
    def test_one_mail_reaches_all_recipients_as_it_was_written(self):
        server = self.serve()
        self.work_with(server)
        subject = "Grüße aus Köln — ваш заказ " + "langer Betreff " * 10 + "✓"
        text = "Zeile ü\n.\n..zwei Punkte\n\nFrom hier\n" + "x" * 2000 + "\nkein Ende €"
        task_id = self.send(["a@example.com", "b@example.org", "c+d@example.com"], subject, text)
        self.assertEqual(self.ended(task_id)["result"], 3)
        (mail,) = server.mails
        self.assertEqual(mail.sender, "shop@example.com")
        self.assertEqual(mail.recipients, ["a@example.com", "b@example.org", "c+d@example.com"])
        self.assertEqual(mail.message["Subject"], subject)
        self.assertEqual(mail.message["From"], "shop@example.com")
        self.assertEqual(mail.message["To"], "a@example.com, b@example.org, c+d@example.com")
        self.assertEqual(mail.message["Message-ID"], f"<{task_id}@example.com>")
        self.assertLess(abs(mail.message["Date"].datetime.timestamp() - time.time()), 60)
        self.assertEqual(mail.message.defects, [])
        self.assertEqual(mail.message.get_content().replace("\r\n", "\n"), text + "\n")
        self.assertNotIn(b"\n", mail.bytes.replace(b"\r\n", b""))  # no bare line feed on the wire
        self.assertLess(max(map(len, mail.bytes.split(b"\r\n"))), 999)

    def test_a_task_called_by_keywords_and_python_is_the_same(self):
        server = self.serve()
        self.work_with(server)
        from celery import Celery

        app = Celery(broker=self.redis.url, backend=self.redis.url)
        result = app.send_task("products.tasks." + TASK, ("Ünder", "text"), {"recipient_list": ["a@example.com"]})
        self.assertEqual(result.get(timeout=10), 1)
        app.close()
        self.assertEqual(server.mails[0].message["Subject"], "Ünder")

    def test_a_4xx_reply_is_retried_and_delivered_once(self):
        server = self.serve()
        self.work_with(server)
        busy, full = self.send(["busy@example.com", "a@example.com"]), self.send(["full@example.com"])
        self.assertEqual(self.retried(busy)[0], "Retry")
        self.assertIn("RCPT TO:<busy@example.com>: 451 4.7.1 greylisted, come back", self.retried(busy)[1])
        self.assertIn("DATA: 452 4.2.2 no room at the moment", self.retried(full)[1])
        self.assertEqual(server.mails, [])  # not to the recipient that was taken either
        self.assertEqual([self.ended(one)["result"] for one in (busy, full)], [2, 1])
        self.assertEqual(sorted(mail.recipients for mail in server.mails),
                         [["busy@example.com", "a@example.com"], ["full@example.com"]])

    def test_a_5xx_reply_fails_at_once_with_the_server_s_words(self):
        server = self.serve()
        self.work_with(server)
        kind, text = self.refused(["a@example.com", "gone@example.com"])
        self.assertEqual(kind, "SMTPException")
        self.assertEqual(text, f"the mail server at 127.0.0.1 port {server.port} refuses: RCPT TO:<gone@example.com>: "
                               "550 5.1.1 no such mailbox here: gone@example.com")
        self.assertIn("DATA: 554-5.7.1 we do not want this / 554 5.7.1 at all", self.refused(["spam@example.com"])[1])
        self.assertEqual(server.mails, [])
        self.assertEqual(server.attempts["gone@example.com"], 1)

    def test_an_unreachable_server_is_retried_until_it_is_there(self):
        port = free_port()
        self.work(mail_url=f"smtp://127.0.0.1:{port}")
        task_id = self.send(["a@example.com"])
        self.assertIn(f"mail not delivered: Failed to connect to 127.0.0.1 port {port}", self.retried(task_id)[1])
        server = self.serve(port=port)
        self.assertEqual(self.ended(task_id)["status"], "SUCCESS")
        self.assertEqual(len(server.mails), 1)

    def test_the_soft_time_limit_ends_a_wait_for_a_silent_server(self):
        silent = self.enterContext(SilentServer())
        worker = self.work_with(silent, "--soft-time-limit", "300ms", "--time-limit", "20s")
        begun = time.monotonic()
        self.assertEqual(self.refused(["a@example.com"])[0], "SoftTimeLimitExceeded")
        self.assertLess(time.monotonic() - begun, 5)
        self.assertNotIn("TimeLimitExceeded(20", worker.text())

    def test_the_soft_time_limit_ends_a_wait_in_the_middle_of_a_mail(self):
        server = self.serve()
        self.work_with(server, "--soft-time-limit", "300ms", "--time-limit", "20s")
        begun = time.monotonic()
        self.assertEqual(self.refused(["slow@example.com"])[0], "SoftTimeLimitExceeded")
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(server.attempts, {"slow@example.com": 1})  # it got as far as the mail itself

    def test_a_server_that_does_not_answer_the_goodbye_delays_nothing(self):
        server = self.serve()
        self.work_with(server)
        begun = time.monotonic()
        self.delivered(["mute@example.com"])
        self.assertLess(time.monotonic() - begun, 5)
        self.delivered(["a@example.com"])
        wait_until(lambda: server.goodbyes == 1, 5, "the other connection ends with QUIT")


class Encryption(MailCase):
    def test_require_with_a_known_certificate_encrypts(self):
        server = self.serve(tls="starttls required")
        self.work_with(server, mail_starttls="require", mail_ca_file=self.certificate)
        self.delivered(["a@example.com"])
        self.assertTrue(server.mails[0].encrypted)

    def test_require_with_an_unknown_certificate_does_not_send(self):
        server = self.serve(tls="starttls")
        self.work_with(server, mail_starttls="require")
        self.assertIn("mail not delivered: SSL certificate problem: self-signed certificate",
                      self.retried(self.send(["a@example.com"]))[1])
        self.assertEqual(server.mails, [])

    def test_require_with_a_server_that_does_not_encrypt_fails(self):
        server = self.serve()
        self.work_with(server, mail_starttls="require")
        kind, text = self.refused(["a@example.com"])
        self.assertEqual(kind, "SMTPException")
        self.assertIn("the mail server does not encrypt: STARTTLS not supported", text)
        self.assertEqual(server.mails, [])

    def test_try_encrypts_whatever_the_certificate_and_sends_plain_otherwise(self):
        for tls, encrypted in (("starttls required", True), (None, False)):
            with self.subTest(tls=tls), MailServer(self.key_pair, tls=tls) as server, \
                    self.worker_of(server, mail_starttls="try"):
                self.delivered(["a@example.com"])
                self.assertEqual(server.mails[0].encrypted, encrypted)

    def test_smtps_encrypts_from_the_start_and_checks_the_certificate(self):
        server = self.serve(tls="from the start")
        with self.worker_of(server, scheme="smtps"):
            self.assertIn("self-signed certificate", self.retried(self.send(["a@example.com"]))[1])
            self.client.flushall()
        with self.worker_of(server, scheme="smtps", mail_ca_file=self.certificate):
            self.delivered(["b@example.com"])
        self.assertEqual([mail.recipients for mail in server.mails], [["b@example.com"]])

    def test_login_with_user_and_password(self):
        server = self.serve(tls="starttls", login=True)
        self.work_with(server, mail_user=USER, mail_password=PASSWORD, mail_ca_file=self.certificate)
        self.delivered(["a@example.com"])
        self.assertEqual((server.mails[0].login, server.mails[0].encrypted), (USER, True))

    def test_login_over_smtps_and_where_encryption_is_forbidden(self):
        for tls, scheme, starttls in (("from the start", "smtps", "try"), (None, "smtp", "no")):
            with self.subTest(scheme), MailServer(self.key_pair, tls=tls, login=True) as server, \
                    self.worker_of(server, scheme=scheme, mail_user=USER, mail_password=PASSWORD,
                                   mail_starttls=starttls, mail_ca_file=self.certificate):
                self.delivered(["a@example.com"])
                self.assertEqual(server.mails[0].login, USER)

    def test_a_wrong_password_fails_and_is_not_told(self):
        server = self.serve(tls="starttls", login=True)
        worker = self.work_with(server, "-l", "debug", mail_user=USER, mail_password="wr0ng-pass",
                                mail_ca_file=self.certificate)
        kind, text = self.refused(["a@example.com"])
        self.assertEqual(kind, "SMTPException")
        self.assertRegex(text, r"refuses: AUTH: 535 5\.7\.8 ")
        worker.stop()
        self.assertNotIn("wr0ng-pass", text + worker.text())
        self.assertNotIn("AHNob3AAd3IwbmctcGFzcw", text + worker.text())  # as AUTH PLAIN sends it
        self.assertEqual(server.mails, [])

    def test_a_password_is_not_sent_to_a_server_that_does_not_encrypt(self):
        server = self.serve(login=True)
        self.work_with(server, mail_user=USER, mail_password=PASSWORD, mail_starttls="try")
        self.assertIn("does not encrypt", self.refused(["a@example.com"])[1])


class Checks(MailCase):
    """What is wrong with the arguments or the settings is said before anybody is asked."""

    def setUp(self):
        super().setUp()
        self.mails = os.path.join(self.folder, "mails")

    def files(self):
        return os.listdir(self.mails)

    def test_a_mail_becomes_a_file_of_the_task_s_name(self):
        self.work()
        task_id = self.send(["a@example.com", "b@example.com"], "Schöne Grüße", "Text\nmit ß")
        self.assertEqual(self.ended(task_id)["result"], 2)
        path = os.path.join(self.mails, task_id + ".eml")
        with open(path, "rb") as file:
            message = message_from_bytes(file.read(), policy=policy.default)
        self.assertEqual((message["Subject"], message.get_content()), ("Schöne Grüße", "Text\r\nmit ß\r\n"))
        self.assertEqual(message["To"], "a@example.com, b@example.com")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)
        self.assertFalse([name for name in self.files() if not name.endswith(".eml")])

    def test_an_id_of_the_caller_s_choice_is_no_path_and_no_header(self):
        self.work()
        for task_id in ("../../escaped", "x\nBcc: evil@example.com", ".", "ä" * 100):
            with self.subTest(task_id):
                self.assertEqual(self.call(TASK, "s", "t", '["a@example.com"]', "--id", task_id), task_id)
                self.assertEqual(self.ended(task_id)["status"], "SUCCESS")
                name = hashlib.sha256(task_id.encode()).hexdigest()
                with open(os.path.join(self.mails, name + ".eml"), "rb") as file:
                    message = message_from_bytes(file.read(), policy=policy.default)
                self.assertEqual(message["Message-ID"], f"<{name}@example.com>")
                self.assertIsNone(message["Bcc"])

    def test_headers_cannot_be_injected(self):
        self.work()
        before = self.files()
        cases = (
            ("Hi\r\nBcc: evil@example.com", ["a@example.com"], "ValueError: subject: a line break or control character"),
            ("Hi\nthere", ["a@example.com"], "ValueError: subject: a line break or control character"),
            ("Hi\tthere", ["a@example.com"], "ValueError: subject: a line break or control character"),
            ("Hi", ["a@example.com", "b@example.com\nBcc: evil@example.com"],
             "ValueError: recipient_list: entry 2 has a line break or control character"),
            ("Hi", ["a@example.com, evil@example.com"], 'ValueError: recipient_list: "a@example.com, evil@example.com" is'),
            ("Hi", ["a@example.com>\0"], "TypeError: recipient_list: entry 1 is not text"),
            ("Hi", ["<a@example.com>"], 'ValueError: recipient_list: "<a@example.com>" is not an address'),
            ("Hi", ["nobody"], 'ValueError: recipient_list: "nobody" is not an address'),
            ("Hi", ["a@b@c"], 'ValueError: recipient_list: "a@b@c" is not an address'),
            ("Hi", ["käufer@example.com"], 'ValueError: recipient_list: "käufer@example.com" is not an address'),
            ("Hi", [], "ValueError: recipient_list: there is no recipient"),
            ("Hi", "a@example.com", "TypeError: recipient_list must be a list, not text"),
            ("Hi", [7], "TypeError: recipient_list: entry 1 is not text"),
            ("Hi", ["a@example.com"] * 101, "ValueError: recipient_list: 101 entries, at most 100"),
            (None, ["a@example.com"], "TypeError: subject must be text, not null"),
            (7, ["a@example.com"], "TypeError: send_email_notification() argument 'subject' must be text, not integer"),
        )
        for subject, recipients, expected in cases:
            with self.subTest(expected):
                kind, text = self.fails(TASK, "--args", json.dumps([subject, "text", recipients]))
                self.assertTrue(f"{kind}: {text}".startswith(expected), f"{kind}: {text}")
        self.assertEqual(self.files(), before)

    def test_settings_that_cannot_be_used_are_named(self):
        port = free_port()
        cases = (
            ({"mail_url": f"http://127.0.0.1:{port}/"}, "ValueError: setting mail_url: not smtp://host, smtps://host"),
            ({"mail_url": "smtp://[::1"}, "ValueError: setting mail_url: not smtp://host, smtps://host"),
            ({"mail_url": f"smtp://u:hidden@127.0.0.1:{port}"},
             "ValueError: setting mail_url: user and password belong into mail_user, mail_password"),
            ({"mail_url": "file://mails"}, "ValueError: setting mail_url: file://mails: not file:///folder"),
            ({"mail_url": "file:///nowhere/at/all"},
             "OSError: setting mail_url: /nowhere/at/all: No such file or directory"),
            ({"mail_url": f"smtp://127.0.0.1:{port}", "mail_starttls": "maybe"},
             'ValueError: setting mail_starttls: "maybe" is not no, try or require'),
            ({"mail_from": "The shop <shop@example.com>"},
             'ValueError: setting mail_from: "The shop <shop@example.com>" is not an address'),
        )
        for settings, expected in cases:
            with self.subTest(**settings), self.worker(**settings):
                kind, text = self.refused(["a@example.com"])
                self.assertTrue(f"{kind}: {text}".startswith(expected), f"{kind}: {text}")
                self.assertNotIn("hidden", text)

    def test_a_file_of_certificates_that_is_none_is_named(self):
        server = self.serve(tls="from the start")
        self.work_with(server, scheme="smtps", mail_ca_file="/nowhere.pem")
        kind, text = self.refused(["a@example.com"])
        self.assertEqual(kind, "ValueError")
        self.assertTrue(text.startswith("setting mail_ca_file: "), text)


if __name__ == "__main__":
    unittest.main()
