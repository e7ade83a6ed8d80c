"""A real SMTP server (aiosmtpd) on a loopback port of the system's choice, in a thread of the test."""
import asyncio
import logging
import os
import socket
import ssl
import subprocess
import threading
import warnings
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # clients that break off are part of the tests
warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")

USER, PASSWORD = "shop", "s3cret pass/word"


class Mail:
    def __init__(self, session, envelope):
        self.sender, self.recipients = envelope.mail_from, list(envelope.rcpt_tos)
        self.bytes = envelope.original_content
        self.message = message_from_bytes(self.bytes, policy=policy.default)
        self.encrypted = session.ssl is not None
        self.login = session.auth_data.login.decode() if session.authenticated else None


class Replies:
    """Answers by the recipient: "busy..." once 451, "full..." 452 at the end of the mail, "gone..." 550, "spam..." 554
    at its end, in two lines, "slow..." never, "mute..." to all but the goodbye."""

    def __init__(self):
        self.mails, self.attempts, self.goodbyes = [], {}, 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.attempts[address] = self.attempts.get(address, 0) + 1
        if address.startswith("busy") and self.attempts[address] < 2:
            return "451 4.7.1 greylisted, come back"
        if address.startswith("gone"):
            return "550 5.1.1 no such mailbox here: " + address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        first = envelope.rcpt_tos[0]
        if first.startswith("slow"):
            await asyncio.sleep(3600)
        if first.startswith("full") and self.attempts[first] < 2:
            return "452 4.2.2 no room at the moment"
        if first.startswith("spam"):
            return "554-5.7.1 we do not want this\r\n554 5.7.1 at all"
        self.mails.append(Mail(session, envelope))
        session.mute = first.startswith("mute")
        return "250 OK queued"

    async def handle_QUIT(self, server, session, envelope):
        if getattr(session, "mute", False):
            await asyncio.sleep(3600)
        self.goodbyes += 1
        return "221 Bye"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False, auth_data=data)


class MailServer:
    """`tls` is None, "starttls" (offered), "starttls required" or "from the start"; `port` 0 lets the system choose."""

    def __init__(self, certificate=None, tls=None, login=False, port=0):
        self.replies = Replies()
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        options = {"hostname": "mail.test", "tls_context": context if tls and tls.startswith("starttls") else None,
                   "require_starttls": tls == "starttls required"}
        if login:
            options.update(authenticator=authenticate, auth_required=True,
                           auth_require_tls=bool(tls and tls.startswith("starttls")))
        self.options, self.port = options, port
        self.context = context if tls == "from the start" else None
        self.loop = asyncio.new_event_loop()

    @property
    def mails(self):
        return self.replies.mails

    @property
    def goodbyes(self):
        return self.replies.goodbyes

    @property
    def attempts(self):
        return self.replies.attempts

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def __enter__(self):
        self.loop.set_exception_handler(lambda *_: None)  # clients that leave in the middle are meant to
        server = self.loop.run_until_complete(self.loop.create_server(
            lambda: SMTP(self.replies, loop=self.loop, **self.options), "127.0.0.1", self.port, ssl=self.context))
        self.server, self.port = server, server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class SilentServer:
    """Accepts connections and says nothing."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.socket.close()


def free_port():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_certificate(folder):
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    key, certificate, both = (os.path.join(folder, name) for name in ("key.pem", "certificate.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=mail.test",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    with open(both, "w") as file:
        for part in (key, certificate):
            with open(part) as source:
                file.write(source.read())
    return certificate, both
