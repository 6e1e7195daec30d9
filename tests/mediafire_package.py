"""Drives the `mediafire` package from PyPI, unchanged, against a sandbox.

Usage: mediafire_package.py URL [EMAIL PASSWORD APP_ID]

Only where the package sends its calls is set from outside: its API base, and, since it forces every download
to HTTPS and the sandbox speaks plain HTTP, a transport that carries `https://` to the sandbox's own address
without TLS. Run by scripts/python-client-check.
"""

import hashlib
import io
import os
import sys
import tempfile
import urllib.parse

import requests
from requests.adapters import HTTPAdapter

import mediafire.api
import mediafire.uploader
from mediafire.api import MediaFireApiError
from mediafire.client import File, Folder, MediaFireClient, ResourceNotFoundError

MIB = 1 << 20

# The service keeps content that it once had; what is to be sent in full must be new to it in each run.
FRESH = os.urandom(16)


class PlainTransport(HTTPAdapter):
    """Carries https:// requests to the sandbox over plain HTTP."""

    def send(self, request, **options):
        request.url = request.url.replace("https:", "http:", 1)
        return super().send(request, **options)


def point_at(base):
    """Points the package at the sandbox."""
    mediafire.api.API_BASE = base.rstrip("/")
    # The sandbox is ready in moments; the package asks every five seconds.
    mediafire.uploader.UPLOAD_POLL_INTERVAL = 0.2
    prefix = "https://" + urllib.parse.urlsplit(base).netloc
    make = requests.Session.__init__

    def make_and_mount(session, *args, **options):
        make(session, *args, **options)
        session.trust_env = False
        session.mount(prefix, PlainTransport())

    requests.Session.__init__ = make_and_mount


def step(name):
    print("  " + name, flush=True)


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def names(client, uri):
    return sorted(item.get("filename", item.get("name")) for item in client.get_folder_contents_iter(uri))


def download(client, uri):
    """The package itself compares the hash with what the service tells."""
    target = io.BytesIO()
    client.download_file(uri, target)
    return target.getvalue()


def missing(client, uri):
    try:
        client.get_resource_by_uri(uri)
    except ResourceNotFoundError:
        return True
    return False


def folders(client):
    step("makes folders, one inside the other, and again without harm")
    client.create_folder("mf:///python/deep/er", recursive=True)
    folder = client.create_folder("mf:///python/deep/er")
    check(isinstance(folder, Folder), "a folder is a folder")
    check(names(client, "mf:///python") == ["deep"], "no second folder of the same name")


def small_files(client):
    step("uploads a small file and finds it")
    data = f"Grüße aus Python {FRESH.hex()}\n".encode() * 100
    result = client.upload_file(io.BytesIO(data), "mf:///python/hello.txt")
    check(result.action == "upload/simple", result)
    check(result.hash_ == hashlib.sha256(data).hexdigest(), result)
    check(download(client, "mf:///python/hello.txt") == data, "the small file came back changed")

    step("uploads the same again: nothing is sent, the key stays")
    again = client.upload_file(io.BytesIO(data), "mf:///python/hello.txt")
    check(again.action is None and again.quickkey == result.quickkey, again)

    step("uploads the same content under another name: instant")
    twin = client.upload_file(io.BytesIO(data), "mf:///python/deep/copy of hello.txt")
    check(twin.action == "upload/instant" and twin.quickkey != result.quickkey, twin)
    check(download(client, "mf:///python/deep/copy of hello.txt") == data, "the instant file differs")

    step("replaces a file's content and keeps its key")
    changed = client.upload_file(io.BytesIO(data + b"more"), "mf:///python/hello.txt")
    check(changed.quickkey == result.quickkey, changed)
    check(download(client, "mf:///python/hello.txt") == data + b"more", "the new content did not arrive")

    step("uploads an empty file and a name beyond ASCII")
    empty = client.upload_file(io.BytesIO(b""), "mf:///python/empty.bin")
    check(empty.quickkey, empty)
    check(download(client, "mf:///python/empty.bin") == b"", "the empty file is not empty")
    client.upload_file(io.BytesIO(b"x" * 10), "mf:///python/日本語 ü.txt")
    check("日本語 ü.txt" in names(client, "mf:///python"), names(client, "mf:///python"))


def large_file(client):
    step("uploads 70 MiB in units within an upload session, and downloads them with the hash check")
    block = hashlib.sha256(FRESH).digest() * (MIB // 32)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "large.bin")
        with open(source, "wb") as file:
            for number in range(70):
                file.write(number.to_bytes(4, "big") + block[4:])
        with client.upload_session():
            result = client.upload_file(source, "mf:///python/large.bin")
        check(result.action == "upload/resumable", result)
        check(int(result.size) == 70 * MIB, result)
        target = os.path.join(folder, "back.bin")
        client.download_file("mf:///python/large.bin", target)
        with open(source, "rb") as first, open(target, "rb") as second:
            for _ in range(70):
                check(first.read(MIB) == second.read(MIB), "the large file came back changed")


def changes(client):
    step("renames, dates and moves a file")
    client.update_file_metadata("mf:///python/hello.txt", filename="renamed.txt",
                                mtime="2015-05-06T21:48:07Z")
    renamed = client.get_resource_by_uri("mf:///python/renamed.txt")
    check(isinstance(renamed, File) and renamed["created"] == "2015-05-06 16:48:07", renamed)
    check(missing(client, "mf:///python/hello.txt"), "the old name is still there")
    target = client.get_resource_by_uri("mf:///python/deep/er")
    client.api.file_move(renamed["quickkey"], target["folderkey"])
    check(names(client, "mf:///python/deep/er") == ["renamed.txt"], "the file did not move")

    step("renames and moves a folder")
    client.update_folder_metadata("mf:///python/deep", foldername="shallow")
    source = client.get_resource_by_uri("mf:///python/shallow/er")
    parent = client.get_resource_by_uri("mf:///python")
    client.api.folder_move(source["folderkey"], parent["folderkey"])
    check(names(client, "mf:///python/er") == ["renamed.txt"], "the folder did not move")

    step("deletes to the trash and for good")
    client.delete_file("mf:///python/er/renamed.txt")
    check(missing(client, "mf:///python/er/renamed.txt"), "the deleted file is still there")
    client.delete_file("mf:///python/empty.bin", purge=True)
    check(missing(client, "mf:///python/empty.bin"), "the purged file is still there")
    client.delete_folder("mf:///python")
    check(missing(client, "mf:///python"), "the deleted folder is still there")


def refusals(email, password, app_id):
    step("is told of a wrong password and of an unknown key")
    client = MediaFireClient()
    try:
        client.login(email=email, password="not the password", app_id=app_id)
        raise AssertionError("a wrong password logs in")
    except MediaFireApiError as error:
        check(error.code == 107, error)
    client.login(email=email, password=password, app_id=app_id)
    try:
        client.api.file_get_info("nosuchkey000000")
        raise AssertionError("an unknown key has a file")
    except MediaFireApiError as error:
        check(error.code == 110, error)


def main():
    base = sys.argv[1]
    email, password, app_id = sys.argv[2:5] or ["demo@example.com", "demo-password", "42511"]
    point_at(base)
    print(f"the mediafire package against {base}")
    step("logs in")
    client = MediaFireClient()
    client.login(email=email, password=password, app_id=app_id)
    info = client.api.user_get_info()["user_info"]
    check(info["email"] == email, info)
    client.delete_folder("mf:///python", purge=True)
    folders(client)
    small_files(client)
    large_file(client)
    changes(client)
    refusals(email, password, app_id)
    print("all done")


if __name__ == "__main__":
    main()
