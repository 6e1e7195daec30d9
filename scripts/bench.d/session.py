"""One run of one workload with one program: measured steps, and the comparing of what came of them."""

import contextlib
import os
import subprocess
import time

from processes import TooSlow, run, wait_until

MIB = 1 << 20
STEP_LIMIT = 120  # Seconds. What takes longer is told as that.


class Step:
    """What one measured step came to."""

    def __init__(self, row):
        self.row = row
        self.begin = time.perf_counter()
        self.seconds = None
        self.calls, self.sent, self.fetched, self.memory = {}, 0, 0, 0
        self.notes, self.wrong, self.too_slow = [], [], False

    def returned(self):
        """Notes when the command was done, where the service has it all later."""
        self.notes.append(f"returned after {time.perf_counter() - self.begin:.2f} s")


class Session:
    """`seeds` holds what was put into the service before, or what is to be put there; `root` is the mount."""

    def __init__(self, program, seeds):
        self.program, self.seeds = program, seeds
        self.deadline = time.monotonic() + STEP_LIMIT
        self.root, self.store = program.root, program.store
        self.steps = []

    def cold(self):
        """Mounts with nothing in any cache."""
        self.remount(fresh=True)

    def remount(self, fresh=False):
        if self.program.process is not None:
            self.program.unmount()
        self.program.mount(fresh)
        self.program.settle()

    @contextlib.contextmanager
    def step(self, row):
        """Measures what is done inside. What takes too long is told as that, and ends the run."""
        self.program.settle()
        self.program.reset()
        step = Step(row)
        self.steps.append(step)
        self.deadline = time.monotonic() + STEP_LIMIT
        step.begin = time.perf_counter()
        try:
            yield step
        except TooSlow:
            step.too_slow = True
            self.measure(step)
            raise
        self.measure(step)

    def measure(self, step):
        step.seconds = time.perf_counter() - step.begin
        counts = self.program.settle()
        step.calls, step.sent, step.fetched = counts.calls, counts.sent, counts.fetched
        step.memory = self.program.peak_memory()

    def left(self):
        """The seconds that the step may still take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TooSlow
        return left

    def run(self, *command, **more):
        return run(command, self.left(), **more)

    def output_of(self, *command, status=0):
        return run(command, self.left(), output=subprocess.PIPE, status=status)

    def together(self, commands):
        """Runs commands at once and returns the seconds that each took."""
        begin = time.perf_counter()
        running = {}
        try:
            for at, command in enumerate(commands):
                running[at] = subprocess.Popen([str(part) for part in command], start_new_session=True)
            took = {}
            while running:
                self.left()
                for at, process in list(running.items()):
                    if process.poll() is not None:
                        took[at] = time.perf_counter() - begin
                        del running[at]
                        if process.returncode != 0:
                            raise RuntimeError(f"{commands[at][0]} failed")
                time.sleep(0.005)
            return [took[at] for at in sorted(took)]
        finally:
            for process in running.values():
                process.kill()

    def until(self, predicate):
        wait_until(predicate, self.left())

    def check(self, is_right, what):
        """Tells of wrong content in the last step's row."""
        if not is_right:
            self.steps[-1].wrong.append(what)

    def note(self, text):
        self.steps[-1].notes.append(text)

    def same_file(self, one, other):
        status = subprocess.run(["cmp", "-s", one, other], timeout=STEP_LIMIT, check=False).returncode
        self.check(status == 0, f"{one.name} differs")

    def same_tree(self, one, other):
        """Compares names and contents of two folders of files."""
        command = ["diff", "-rq", one, other]
        found = subprocess.run(command, timeout=STEP_LIMIT, check=False, capture_output=True, text=True)
        lines = (found.stdout + found.stderr).splitlines()
        self.check(found.returncode == 0, f"{len(lines)} differences")

    def drop_pages(self, path):
        """Lets the kernel forget what it holds of a file in the mount, and of the program's cache on the disk."""
        cached = (os.path.join(folder, name) for folder, _, names in os.walk(self.program.cache) for name in names)
        for name in [path, *cached]:
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(name, os.O_RDONLY)
                try:
                    if name != path:
                        os.fsync(handle)
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(handle)


def sizes(folder):
    """Names and sizes of a folder's files; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}
    except FileNotFoundError:
        return {}
