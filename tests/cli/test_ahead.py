"""Images that are made beside runs end with the command."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from madrun.cli import ahead


def test_a_request_that_nobody_answers_keeps_a_command_only_for_a_while(monkeypatch):
    monkeypatch.setattr(ahead, "_END_S", 0.2)
    answered = threading.Event()
    pool = ThreadPoolExecutor(max_workers=1)
    futures = [pool.submit(answered.wait) for _ in range(2)]
    began = time.monotonic()
    ahead.end(pool, futures)
    assert time.monotonic() - began >= 0.2
    assert futures[1].cancelled()
    answered.set()


def test_what_has_not_begun_is_not_waited_for():
    pool = ThreadPoolExecutor(max_workers=1)
    let_go = threading.Event()
    futures = [pool.submit(let_go.wait) for _ in range(3)]
    threading.Timer(0.05, let_go.set).start()
    ahead.end(pool, futures)
    assert [future.cancelled() for future in futures] == [False, True, True]
