"""Processes that the benchmarks start: each is ended again, whatever happens."""

import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1


class TooSlow(Exception):
    """A step took longer than it may."""


def _end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def spawn(command, log, **more):
    """Starts a program that serves. It has a session of its own, so that ^C in a terminal leaves its end to us."""
    with open(log, "ab") as errors:
        options = {"stdin": subprocess.DEVNULL, "stdout": errors, **more}
        return subprocess.Popen(
            [str(part) for part in command], stderr=errors, start_new_session=True, preexec_fn=_end_with_parent, **options
        )


def end(process, patience=10.0):
    """Asks a program to end, insists after a while. Its exit status; None when it had to be killed."""
    if process is None:
        return 0
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            return None
    return process.returncode


def run(command, limit, output=subprocess.DEVNULL, status=0):
    """Runs a command to its end and returns what it printed, where `output` is a pipe. Raises TooSlow after `limit` seconds."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    try:
        printed, errors = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, subprocess.TimeoutExpired):
            raise TooSlow from error
        raise
    if process.returncode > status:
        text = errors.decode(errors="replace").strip().splitlines() or ["no message"]
        raise RuntimeError(f"{command[0]} failed: {text[0]}")
    return printed


def wait_until(predicate, limit, step=0.02):
    end_of_patience = time.monotonic() + limit
    while not predicate():
        if time.monotonic() > end_of_patience:
            raise TooSlow
        time.sleep(step)
