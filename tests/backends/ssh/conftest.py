"""A head without a terminal."""

import threading

import pytest


class FakeHead:
    """Remembers what it is to show; `press` is a signal."""

    def __init__(self):
        self.stop = threading.Event()
        self.count = 0
        self.reason = ""
        self.out = self.err = b""
        self.said = []

    def press(self, name="SIGINT"):
        self.count += 1
        self.reason = self.reason or f"interrupted by {name}"
        self.stop.set()

    def say(self, text):
        self.said.append(text)

    def show(self, data):
        self.out += data

    def tell(self, data):
        self.err += data


@pytest.fixture
def head():
    return FakeHead()
