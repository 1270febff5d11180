"""The real executable as a service on a store of its own, and tenants in it."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

START_SECONDS = 30


class Service:
    """`scimgate serve`, until the `with` block is left."""

    def __init__(self, executable, settings):
        self.executable = executable
        self.settings = settings

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCIMGATE_")}
        self.environment = {**inherited, **self.settings, "SCIMGATE_PORT": str(port), "SCIMGATE_DRAIN": "0"}
        self.log = open(pathlib.Path(self.folder.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [self.executable, "serve"], cwd=self.folder.name, env=self.environment, stdout=self.log, stderr=self.log
        )
        try:
            self.wait_until_ready(f"http://127.0.0.1:{port}/health/ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self, url):
        for _ in range(START_SECONDS * 10):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.log.seek(0)
        raise RuntimeError(f"the service is not ready after {START_SECONDS} s:\n{self.log.read()}")

    def tenant(self, name):
        """Makes a tenant as an operator does; its URL and its token."""
        command = [self.executable, "tenant", "create", name, "--json"]
        made = subprocess.run(command, cwd=self.folder.name, env=self.environment, check=True, capture_output=True)
        tenant = json.loads(made.stdout)
        return tenant["tenantUrl"], tenant["secretToken"]

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.folder.cleanup()
