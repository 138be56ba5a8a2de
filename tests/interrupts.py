"""Child processes of tests that are to be interrupted."""

import signal


def heed_interrupts():
    """Let a child end at SIGINT: a shell starts background jobs with it ignored, and children inherit that, also those of a test run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
