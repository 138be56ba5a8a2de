"""Child processes of tests: interrupting them, and whether they run."""

import signal

import psutil


def heed_interrupts():
    """Let a child end at SIGINT: a shell starts background jobs with it ignored, and children inherit that, also those of a test run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(process):
    """Return whether a process of psutil still runs; one that ended and was not yet waited for does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
