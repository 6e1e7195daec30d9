"""The programs that are measured: each with a service of its own behind the same limits, and a mount of it.

`store` is the folder in which the service keeps the account's files as plain files, `root` the same folder seen
through the mount. A program knows nothing of the workloads.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from processes import end, spawn, wait_until

# Whatever proxy the environment names, this machine is reached without it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

ASKING = 2048  # The most bytes that go over the link for one look at its counts.
START_LIMIT = 300  # The sandbox reads all files that it finds.
MOUNT_LIMIT = 30


class Profile:
    """The link to the service: seconds to an answer's first byte, bytes a second of one connection and of all."""

    latency = 0.05
    per_connection = 12_000_000
    total = 100_000_000

    def __str__(self):
        rates = f"{self.per_connection / 1e6:.0f} MB/s a connection, {self.total / 1e6:.0f} MB/s in all"
        return f"{self.latency * 1e3:.0f} ms, {rates}"


class Counts:
    """What went over the link."""

    def __init__(self, calls, sent, fetched):
        self.calls, self.sent, self.fetched = calls, sent, fetched

    def is_still(self, since):
        """Whether nothing has gone over the link since; asking for the counts may itself be counted."""
        moved = self.sent - since.sent + self.fetched - since.fetched
        return self.calls == since.calls and moved < ASKING


class Program:
    """What all programs have in common. `work` is a folder of its own."""

    def __init__(self, work):
        self.work = Path(work)
        self.mountpoint = self.work / "mnt"
        self.cache = self.work / "cache"
        self.log = self.work / "log"
        self.process = None
        self.server = None
        self.mountpoint.mkdir(parents=True)

    def mount(self, fresh):
        """Mounts; `fresh` forgets all that the program has kept."""
        if fresh:
            self.forget()
        self.process = spawn(self.mount_command(), self.log, env=self.environment())
        wait_until(self.is_up, MOUNT_LIMIT)
        os.listdir(self.root)

    def is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} did not mount: {self.last_words()}")
        return os.path.ismount(self.mountpoint)

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "no message"

    def unmount(self, patience=90.0):
        """Ends the mount in good order."""
        status = end(self.process, patience)
        if status == -signal.SIGTERM or status == 128 + signal.SIGTERM:
            status = 0
        self.process = None
        if os.path.ismount(self.mountpoint):
            subprocess.run(["fusermount3", "-uz", self.mountpoint], stderr=subprocess.DEVNULL, check=False)
        if status != 0:
            raise RuntimeError(f"{self.name} did not unmount in good order: {self.last_words()}")

    def stop(self):
        """Ends everything at once, whatever state it is in."""
        for process in (self.process, self.server):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)
        self.process = self.server = None
        # A mount whose process is gone answers nobody, so it cannot be asked whether it is one.
        lines = Path("/proc/mounts").read_text().splitlines()
        if any(line.split()[1] == str(self.mountpoint) for line in lines):
            subprocess.run(["fusermount3", "-uz", self.mountpoint], stderr=subprocess.DEVNULL, check=False)

    def settle(self, quiet=0.6, limit=20.0):
        """Waits until nothing goes over the link, and returns what did."""
        start = since = time.monotonic()
        last = self.counts()
        while time.monotonic() - since < quiet and time.monotonic() - start < limit:
            time.sleep(0.1)
            counts = self.counts()
            if not counts.is_still(last):
                since = time.monotonic()
            last = counts
        return last

    def peak_memory(self):
        """The most memory that the mount's process has held, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else 0

    def environment(self):
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.work)}


class Lockerfs(Program):
    name = "lockerfs"
    groups = {
        "download": "get",
        "file/get_links": "link",
        "folder/get_content": "list",
        "folder/get_info": "list",
    }

    def __init__(self, work, binary):
        super().__init__(work)
        self.binary = binary
        self.state = self.work / "state"
        self.config = self.work / "config.toml"
        self.data = self.work / "service"
        self.store = self.data / "mediafire" / "files"
        self.root = self.mountpoint / "mediafire"
        self.url = None
        self.store.mkdir(parents=True)

    def serve(self, profile):
        """Starts the emulated service, which takes up what `store` holds."""
        shown = self.work / "sandbox.txt"
        command = [self.binary, "sandbox", "--data", self.data, "--latency", f"{profile.latency * 1e3:.0f}ms"]
        command += ["--per-connection", profile.per_connection, "--total", profile.total]
        with open(shown, "wb") as output:
            self.server = spawn(command, self.work / "sandbox.log", stdout=output)
        found = None

        def is_ready():
            nonlocal found
            if self.server.poll() is not None:
                raise RuntimeError(f"the sandbox ended: {(self.work / 'sandbox.log').read_text().strip()}")
            # The table is whole when the next one has begun.
            found = re.search(r"^\[accounts\.mediafire\]$.*?(?=^\[accounts)", shown.read_text(), re.S | re.M)
            return found

        wait_until(is_ready, START_LIMIT)
        self.config.touch(mode=0o600)
        self.config.write_text(found.group(0))
        self.url = re.search(r'base_url = "(http://[^/"]+)', found.group(0)).group(1)

    def mount_command(self):
        places = ["--config", self.config, "--state-dir", self.state, "--cache-dir", self.cache]
        return [self.binary, *places, "mount", self.mountpoint]

    def forget(self):
        for folder in (self.state, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def counts(self):
        with DIRECT.open(f"{self.url}/sandbox/calls", timeout=30) as answer:
            counts = json.load(answer)
        calls = {}
        for name, count in counts["calls"].items():
            group = self.groups.get(name) or ("send" if name.startswith("upload/") else "other")
            calls[group] = calls.get(group, 0) + count
        return Counts(calls, counts["bytes_in"], counts["bytes_out"])

    def reset(self):
        self.post("calls/reset", b"", 30)

    def grow(self, folders, files, size):
        """Lets the service make up folders of small files."""
        grow = {"account": "mediafire", "folders": folders, "files": files, "size": size}
        self.post("grow", json.dumps(grow).encode(), START_LIMIT)

    def post(self, page, body, limit):
        request = urllib.request.Request(f"{self.url}/sandbox/{page}", data=body, method="POST")
        DIRECT.open(request, timeout=limit).close()


class Rclone(Program):
    """rclone as it comes, with its cache of files on the disk, over WebDAV."""

    name = "rclone"
    options = ()

    def __init__(self, work, rclone, slow_link):
        super().__init__(work)
        self.rclone, self.slow_link = rclone, slow_link
        self.store = self.work / "service"
        self.root = self.mountpoint
        self.link = None
        self.address = None
        self.store.mkdir()

    def serve(self, profile):
        with socket.create_server(("127.0.0.1", 0)) as free:
            backend = f"127.0.0.1:{free.getsockname()[1]}"
        command = [self.rclone, "serve", "webdav", self.store, "--addr", backend, "--dir-cache-time", "1s"]
        self.server = spawn(command, self.work / "server.log", env=self.environment())

        def is_ready():
            if self.server.poll() is not None:
                raise RuntimeError(f"rclone serve ended: {(self.work / 'server.log').read_text().strip()}")
            with socket.socket() as probe:
                host, port = backend.split(":")
                return probe.connect_ex((host, int(port))) == 0

        wait_until(is_ready, MOUNT_LIMIT)
        limits = [f"{profile.latency * 1e3:.0f}", profile.per_connection, profile.total]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.link = spawn([self.slow_link, backend, *limits], self.work / "link.log", **pipes)
        self.address = self.link.stdout.readline().strip()

    def mount_command(self):
        options = ["--cache-dir", self.cache, "--vfs-cache-mode", "full", *self.options]
        return [self.rclone, "mount", "bench:", self.mountpoint, *options]

    def environment(self):
        remote = {"TYPE": "webdav", "URL": f"http://{self.address}", "VENDOR": "rclone"}
        settings = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in remote.items()}
        return {**super().environment(), "RCLONE_CONFIG": os.devnull, **settings}

    def forget(self):
        shutil.rmtree(self.cache, ignore_errors=True)

    def counts(self):
        self.tell("counts")
        counts = json.loads(self.link.stdout.readline())
        return Counts(counts["calls"], counts["sent"], counts["fetched"])

    def reset(self):
        self.tell("reset")

    def tell(self, line):
        self.link.stdin.write(f"{line}\n")
        self.link.stdin.flush()

    def stop(self):
        if self.link is not None:
            self.link.kill()
            self.link.wait(10)
            self.link.stdin.close()
            self.link.stdout.close()
            self.link = None
        super().stop()


class RcloneTuned(Rclone):
    """rclone with the options that its documentation has for a link like this one."""

    name = "rclone tuned"
    options = (
        *("--vfs-read-chunk-streams", "8", "--vfs-read-chunk-size", "4M", "--vfs-read-chunk-size-limit", "4M"),
        *("--vfs-read-ahead", "64M", "--transfers", "16", "--vfs-write-back", "0s", "--vfs-fast-fingerprint"),
        *("--dir-cache-time", "1h", "--attr-timeout", "1m"),
    )

    @classmethod
    def is_known_to(cls, rclone):
        """Whether an rclone has all these options."""
        told = subprocess.run([rclone, "mount", "--help"], capture_output=True, text=True, timeout=60).stdout
        return all(option in told for option in cls.options if option.startswith("--"))
