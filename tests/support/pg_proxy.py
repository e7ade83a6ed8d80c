"""A proxy in front of a PostgreSQL server that loses what it is told to lose.

    proxy = PgProxy(folder, postgres).start()   # proxy.uri in place of postgres.uri
    proxy.lose("COMMIT", "answer")              # the next message with COMMIT reaches the server, its answer nobody
    proxy.lose("COMMIT", "message")             # the next one reaches nobody

Either way the connection of that client ends. `proxy.lost` counts.
"""
import os
import socket
import threading


class PgProxy:
    def __init__(self, folder, server):
        self.server, self.folder = server, os.path.join(folder, "pg_proxy")
        self.fault, self.lost = None, 0
        self.lock = threading.Lock()

    @property
    def uri(self):
        return "postgresql://celeriac@/celeriac?host=" + self.folder.replace("/", "%2F")

    def start(self):
        os.makedirs(self.folder)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(self.folder, ".s.PGSQL.5432"))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def stop(self):
        self.listener.close()

    def lose(self, words, what):
        self.fault = (words.encode(), what)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            try:
                upstream.connect(os.path.join(self.server.folder, ".s.PGSQL.5432"))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self.to_server, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self.pump, args=(upstream, client), daemon=True).start()

    def take_fault(self, data):
        with self.lock:
            if not self.fault or self.fault[0] not in data:
                return None
            what, self.fault = self.fault[1], None
            self.lost += 1
            return what

    def to_server(self, client, upstream):
        for data in self.chunks(client):
            what = self.take_fault(data)
            if what:
                self.shut(client)  # so that no answer passes
            if what != "message":
                upstream.sendall(data)
            if what:
                break
        self.shut(upstream, socket.SHUT_WR)  # the server reads what it was sent to the end, then sees the end

    def pump(self, upstream, client):
        for data in self.chunks(upstream):
            try:
                client.sendall(data)
            except OSError:
                continue  # the server's answer to nobody
        self.shut(client)
        client.close()
        upstream.close()

    @staticmethod
    def chunks(source):
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                return
            if not data:
                return
            yield data

    @staticmethod
    def shut(end, how=socket.SHUT_RDWR):
        try:
            end.shutdown(how)
        except OSError:
            pass
