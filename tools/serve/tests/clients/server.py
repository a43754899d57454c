"""The program as a server, for the tests of this folder."""

import os
import re
import subprocess
import tempfile
import threading


class Server:
    """The program, and where it listens. What it pulls lies in a folder of its own, and nothing is fetched from a hub."""

    def __init__(self, program, *arguments, **environment):
        command = [program, "serve", *arguments, "--port", "0"]
        self.folder = tempfile.TemporaryDirectory()
        environment = {**os.environ, "XDG_DATA_HOME": self.folder.name, "HF_ENDPOINT": "http://127.0.0.1:9", **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        # What it has said on standard error, a line each.
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"listening on http://([\d.]+):(\d+)", line):
                self.host, self.port = found[1], int(found[2])
                self.url = f"http://{self.host}:{self.port}"
                break
        else:
            raise SystemExit(f"{program} ended with {self.process.wait()}: {self.lines}")
        # So that it never waits for a reader.
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        self.lines.extend(line.rstrip("\n") for line in self.process.stderr)

    def end(self):
        """Ends it as systemd does; returns its exit code."""
        self.process.terminate()
        status = self.process.wait(timeout=60)
        self.reader.join()
        self.process.stderr.close()
        self.folder.cleanup()
        return status
