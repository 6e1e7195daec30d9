"""The workloads. Each has its rows, makes its own files, and runs with whatever program the session has.

A row says what the link allows at best (seconds, from the profile; or a word), and what lockerfs aims at.
"""

import os
import random
import shutil
import sqlite3
import sys
import time
import zipfile

from session import MIB, sizes

PART = 64 * 1024
NEEDLE = "needle-in-the-hay"


class Row:
    def __init__(self, label, limit=None, aim=""):
        self.label, self.aim = label, aim
        self.limit = limit if callable(limit) else lambda _: limit


class Workload:
    """`seed` makes files in a folder. Most workloads find them in the service, in a folder named after the workload."""

    # The files are what is uploaded; the service begins empty.
    uploads = False
    # The files are changed on the service.
    changes = False
    # What can be measured with it; None: all programs.
    programs = None
    rows = {}

    def seed(self, seeds):
        raise NotImplementedError

    def serve(self, program):
        """What there is to do once the service runs."""

    def run(self, session):
        raise NotImplementedError


def write(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    with open(path, "wb") as file:
        for begin in range(0, size, MIB):
            file.write(source.randbytes(min(MIB, size - begin)))


def transfer(size):
    """The seconds that bytes take over the whole link, with one round trip."""
    return lambda profile: profile.latency + size / profile.total


def one_by_one(count, size=0):
    """The seconds of calls that follow upon each other, each on one connection."""
    return lambda profile: count * (profile.latency + size / profile.per_connection)


class Sequential(Workload):
    size = 512 * MIB
    rows = {
        "cold": Row("sequential read, 512 MiB, cold", transfer(size), "5.9 s"),
        "warm": Row("sequential read, warm", "memory", "0.2 s"),
        "disk": Row("sequential read from the cache on the disk", "disk"),
    }

    def seed(self, seeds):
        write(seeds / "big", self.size, 1)

    def run(self, session):
        path = session.root / "seq" / "big"
        session.cold()
        os.listdir(path.parent)
        for row in self.rows:
            if row == "disk":
                session.drop_pages(path)
            with session.step(row):
                session.run("dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")
            session.same_file(path, session.seeds / "big")


class Random(Workload):
    count = 200

    def __init__(self, row, label, size):
        self.row, self.size = row, size
        self.rows = {row: Row(label, one_by_one(self.count, PART), "11.5 s, 25 MiB")}
        source = random.Random(size)
        self.places = [source.randrange(0, size - PART) for _ in range(self.count)]

    def seed(self, seeds):
        with open(seeds / "big", "wb") as file:
            file.truncate(self.size)
            source = random.Random(2)
            for place in self.places:
                file.seek(place)
                file.write(source.randbytes(PART))

    def run(self, session):
        path = session.root / self.row / "big"
        session.cold()
        os.stat(path)
        read, times = [], []
        with session.step(self.row):
            handle = os.open(path, os.O_RDONLY)
            try:
                for place in self.places:
                    session.left()
                    begin = time.perf_counter()
                    read.append(os.pread(handle, PART, place))
                    times.append(time.perf_counter() - begin)
            finally:
                os.close(handle)
        with open(session.seeds / "big", "rb") as file:
            wrong = sum(os.pread(file.fileno(), PART, place) != part for place, part in zip(self.places, read))
        session.check(wrong == 0, f"{wrong} parts differ")
        times.sort()
        session.note(f"{len(times)} reads, median {times[len(times) // 2] * 1e3:.0f} ms, longest {times[-1] * 1e3:.0f} ms")


class FirstBytes(Workload):
    size = 8 * MIB
    rows = {"first": Row("open + first 4 KiB, folder known", one_by_one(2), "0.11 s, 2 calls, 128 KiB")}

    def seed(self, seeds):
        write(seeds / "file", self.size, 3)

    def run(self, session):
        path = session.root / "first" / "file"
        session.cold()
        os.listdir(path.parent)
        with session.step("first"):
            with open(path, "rb", buffering=0) as file:
                read = file.read(4096)
        with open(session.seeds / "file", "rb") as file:
            session.check(read == file.read(4096), "the bytes differ")


class Heads(Workload):
    count = 200
    rows = {
        "heads": Row("200 x head -c 4096 of 1 MiB files", one_by_one(count, 4096), "3 s, 30 MiB"),
        "again": Row("the 200 x head again", "memory"),
    }

    def seed(self, seeds):
        for at in range(self.count):
            write(seeds / f"photo-{at:03}.jpg", MIB, 1000 + at)

    def run(self, session):
        names = sorted(os.listdir(session.seeds))
        wanted = b"".join((session.seeds / name).read_bytes()[:4096] for name in names)
        session.cold()
        folder = session.root / "heads"
        os.listdir(folder)
        for row in self.rows:
            with session.step(row):
                # A process for each file, as programs that look at files' types do.
                read = [session.output_of("head", "-c", "4096", folder / name) for name in names]
            session.check(b"".join(read) == wanted, "the bytes differ")


class Grep(Workload):
    count = 1000
    rows = {"grep": Row("grep -r in 1,000 files of 4 KiB", one_by_one(count))}

    def seed(self, seeds):
        for at in range(self.count):
            text = f"{at} {NEEDLE if at % 100 == 7 else 'hay'}\n" + "straw and hay, line after line\n" * 140
            (seeds / f"text-{at:04}.txt").write_text(text[:4096])

    def run(self, session):
        session.cold()
        folder = session.root / "grep"
        os.listdir(folder)
        with session.step("grep"):
            found = session.output_of("grep", "-rl", NEEDLE, folder)
        wanted = [f"text-{at:04}.txt" for at in range(7, self.count, 100)]
        names = sorted(os.path.basename(line) for line in found.decode().splitlines())
        session.check(names == wanted, "grep found other files")
        session.same_tree(folder, session.seeds)


class Readers(Workload):
    size = 128 * MIB
    rows = {
        "one": Row("one reader of 128 MiB", transfer(size)),
        "four": Row("four readers of 128 MiB each at once", transfer(4 * size)),
    }

    def seed(self, seeds):
        for at in range(5):
            write(seeds / f"film-{at}", self.size, 70 + at)

    def run(self, session):
        folder = session.root / "readers"
        session.cold()
        os.listdir(folder)
        dd = [["dd", f"if={folder}/film-{at}", "of=/dev/null", "bs=1M", "status=none"] for at in range(5)]
        with session.step("one") as one:
            session.run(*dd[4])
        session.same_file(folder / "film-4", session.seeds / "film-4")
        with session.step("four") as four:
            took = session.together(dd[:4])
        for at in range(4):
            session.same_file(folder / f"film-{at}", session.seeds / f"film-{at}")
        each = ", ".join(f"{seconds:.1f}" for seconds in took)
        rate = 4 * one.seconds / four.seconds
        session.note(f"they took {each} s; {rate:.2f} of one reader's rate in all")


class Zip(Workload):
    count = 2000
    rows = {"zip": Row("listing of a zip archive, 500 MiB, 2,000 files", one_by_one(2))}

    def seed(self, seeds):
        source = random.Random(4)
        with zipfile.ZipFile(seeds / "many.zip", "w", zipfile.ZIP_STORED) as archive:
            for at in range(self.count):
                archive.writestr(f"folder-{at // 100}/file-{at}", source.randbytes(MIB // 4))

    def run(self, session):
        path = session.root / "zip" / "many.zip"
        session.cold()
        os.listdir(path.parent)
        listing = [sys.executable, "-m", "zipfile", "-l"]
        with session.step("zip"):
            found = session.output_of(*listing, path)
        session.check(found == session.output_of(*listing, session.seeds / "many.zip"), "the listing differs")


class Sqlite(Workload):
    count, questions = 50_000, 20
    # A leaf of the index and one of the table for each, which are known one after the other.
    rows = {"sqlite": Row("20 look-ups in an SQLite database of 200 MB", one_by_one(2 * questions + 2))}
    query = "SELECT name, length(content), content FROM things WHERE name = ?"

    def seed(self, seeds):
        source = random.Random(5)
        base = sqlite3.connect(seeds / "things.db")
        with base:
            base.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, content BLOB)")
            things = ((f"{source.getrandbits(64):016x}", source.randbytes(3900)) for _ in range(self.count))
            base.executemany("INSERT INTO things (name, content) VALUES (?, ?)", things)
            base.execute("CREATE INDEX by_name ON things (name)")
        base.close()

    def ask(self, path, names):
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return [base.execute(self.query, (name,)).fetchone() for name in names]
        finally:
            base.close()

    def run(self, session):
        source = random.Random(5)
        names = []
        for _ in range(self.count):
            names.append(f"{source.getrandbits(64):016x}")
            source.randbytes(3900)
        names = random.Random(6).sample(names, self.questions)
        path = session.root / "sqlite" / "things.db"
        session.cold()
        os.listdir(path.parent)
        with session.step("sqlite"):
            found = self.ask(path, names)
        session.check(found == self.ask(session.seeds / "things.db", names), "the answers differ")


class Listing(Workload):
    folders, files = 200, 50
    rows = {
        "cold": Row("ls -lR of 200 folders of 50 files, cold", one_by_one(2), "1.5 s, 204 calls"),
        "warm": Row("ls -lR, warm", "memory", "0 calls"),
        "remount": Row("ls -lR after a remount", "memory", "0 calls"),
    }

    def seed(self, seeds):
        for folder in range(self.folders):
            (seeds / f"folder-{folder:03}").mkdir()
            for file in range(self.files):
                (seeds / f"folder-{folder:03}" / f"file-{file:02}.txt").write_text(f"{folder * file}")

    def run(self, session):
        tree = session.root / "ls"
        wanted = self.listed(session.seeds)
        session.cold()
        for row in self.rows:
            if row == "remount":
                session.remount()
            with session.step(row):
                session.run("ls", "-lR", tree)
            session.check(self.listed(tree) == wanted, "names or sizes differ")

    @staticmethod
    def listed(top):
        return {str(folder.relative_to(top)): sizes(folder) for folder in top.iterdir()}


class Million(Workload):
    """As many files as no service's folder of plain files holds: the emulated service makes them up."""

    programs = ("lockerfs",)
    folders, files = 1000, 1000
    rows = {
        "list": Row("find over 1,000,000 files in 1,000 folders, cold", None, "1,002 calls"),
        "mount": Row("mount again with all of them known", "disk", "1 s"),
        "find": Row("find over them after that", "disk", "0 calls, 300 MiB"),
    }

    def seed(self, seeds):
        pass

    def serve(self, program):
        program.grow(self.folders, self.files, 1000)

    def run(self, session):
        session.cold()
        self.walk(session, "list")
        session.program.unmount()
        with session.step("mount"):
            session.program.mount(fresh=False)
        self.walk(session, "find")

    def walk(self, session, row):
        with session.step(row):
            found = session.output_of("find", session.root, "-type", "f", "-name", "file-*", "-printf", ".")
        session.check(len(found) == self.folders * self.files, f"{len(found)} files")


class CopySmall(Workload):
    uploads = True
    count = 500
    rows = {
        "cp": Row("cp -r of 500 files of 4 KiB, until on the service", None, "5 s, 1100 calls"),
        "rm": Row("rm -r of the 500 files, until gone there", one_by_one(1), "0.5 s, 4 calls"),
    }

    def seed(self, seeds):
        for at in range(self.count):
            write(seeds / f"file-{at:03}", 4096, 5000 + at)

    def run(self, session):
        session.cold()
        target, there = session.root / "copied", session.store / "copied"
        wanted = sizes(session.seeds)
        with session.step("cp") as step:
            session.run("cp", "-r", session.seeds, target)
            step.returned()
            session.until(lambda: sizes(there) == wanted)
        session.same_tree(session.seeds, there)
        with session.step("rm") as step:
            session.run("rm", "-r", target)
            step.returned()
            session.until(lambda: not there.exists())


class CopyLarge(Workload):
    uploads = True
    size = 256 * MIB
    rows = {"cp256": Row("cp of 256 MiB, until on the service", transfer(size), "3.5 s")}

    def seed(self, seeds):
        write(seeds / "large", self.size, 9)

    def run(self, session):
        session.cold()
        there = session.store / "large"
        with session.step("cp256") as step:
            session.run("cp", session.seeds / "large", session.root / "large")
            step.returned()
            session.until(lambda: there.exists() and there.stat().st_size == self.size)
        session.same_file(session.seeds / "large", there)


class Rsync(Workload):
    uploads = True
    count = 200
    rows = {
        "first": Row("rsync -a of 200 files of 4 KiB, until on the service", None, "2.5 s, 450 calls"),
        "second": Row("rsync a second time", "memory", "0 calls"),
        "remount": Row("rsync after a remount", "memory", "0 calls"),
    }

    def seed(self, seeds):
        for at in range(self.count):
            write(seeds / f"file-{at:03}", 4096, 7000 + at)

    def run(self, session):
        session.cold()
        target, there = session.root / "synced", session.store / "synced"
        wanted = sizes(session.seeds)
        command = ["rsync", "-a", "--out-format=%n", f"{session.seeds}/", f"{target}/"]
        for row in self.rows:
            if row == "remount":
                session.remount()
            with session.step(row) as step:
                changed = session.output_of(*command)
                step.returned()
                session.until(lambda: sizes(there) == wanted)
            if row != "first":
                files = [line for line in changed.decode().splitlines() if not line.endswith("/")]
                if files:
                    session.note(f"{len(files)} files sent again")
            session.same_tree(session.seeds, there)


class Patch(Workload):
    changes = True
    size = 64 * MIB
    rows = {
        "patch": Row(
            "16 bytes inside a 64 MiB file, until on the service",
            lambda profile: profile.latency + 2 * Patch.size / profile.total,
            "2 s",
        )
    }

    def seed(self, seeds):
        write(seeds / "file", self.size, 11)

    def run(self, session):
        place = self.size // 2 + 5
        there = session.store / "patch" / "file"
        new = b"sixteen new byte"
        expected = session.seeds.with_name("patched")
        shutil.copyfile(session.seeds / "file", expected)
        patch(expected, place, new)

        def is_there():
            try:
                with open(there, "rb") as file:
                    return os.fstat(file.fileno()).st_size == self.size and os.pread(file.fileno(), 16, place) == new
            except FileNotFoundError:
                return False

        session.cold()
        path = session.root / "patch" / "file"
        os.stat(path)
        with session.step("patch") as step:
            patch(path, place, new)
            step.returned()
            session.until(is_there)
        session.same_file(expected, there)
        expected.unlink()


class Rename(Workload):
    changes = True
    count = 50
    rows = {"rename": Row("rename of a folder of 50 files", one_by_one(1), "0.06 s, 1 call")}

    def seed(self, seeds):
        for at in range(self.count):
            write(seeds / "old" / f"file-{at}", 100, 9000 + at)

    def run(self, session):
        session.cold()
        folder, there = session.root / "rename", session.store / "rename"
        os.listdir(folder / "old")
        wanted = sizes(session.seeds / "old")
        with session.step("rename") as step:
            os.rename(folder / "old", folder / "new")
            step.returned()
            session.until(lambda: sizes(there / "new") == wanted and not (there / "old").exists())
        session.same_tree(session.seeds / "old", there / "new")


def patch(path, place, new):
    handle = os.open(path, os.O_RDWR)
    try:
        os.pwrite(handle, new, place)
    finally:
        os.close(handle)


WORKLOADS = {
    "seq": Sequential(),
    "random8g": Random("random8g", "200 random reads of 64 KiB in 8 GiB", 8 << 30),
    "random": Random("random", "200 random reads of 64 KiB in 512 MiB", 512 * MIB),
    "first": FirstBytes(),
    "heads": Heads(),
    "grep": Grep(),
    "readers": Readers(),
    "zip": Zip(),
    "sqlite": Sqlite(),
    "ls": Listing(),
    "find1m": Million(),
    "cp500": CopySmall(),
    "cp256": CopyLarge(),
    "rsync": Rsync(),
    "patch": Patch(),
    "rename": Rename(),
}
