"""Frames of the attach stream, cut at any point, give the payload."""

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from madrun.runtimes import streams
from madrun.runtimes.streams import copy_frames

frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12)


def encoded(parts):
    return b"".join(bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data for stream, data in parts)


def copied(pieces):
    """What the sink got of a stream that arrived in these pieces."""
    reader, writer = socket.socketpair()
    got = []
    with reader, writer:
        thread = threading.Thread(target=copy_frames, args=(reader, got.append))
        thread.start()
        for piece in pieces:
            writer.sendall(piece)
        writer.shutdown(socket.SHUT_WR)
        thread.join(60)
        assert not thread.is_alive()
    return b"".join(got)


class Scripted:
    """A socket that gives out exactly these pieces, one a read."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]

    def recv_into(self, view):
        if not self.pieces:
            return 0
        piece = self.pieces[0][: len(view)]
        self.pieces[0] = self.pieces[0][len(piece) :]
        self.pieces = [piece for piece in self.pieces if piece]
        view[: len(piece)] = piece
        return len(piece)


def pieces_of(text, cuts):
    ends = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(frames, st.lists(st.integers(0, 1 << 16), max_size=20))
def test_frames_cut_anywhere_give_the_payload_in_order(parts, cuts):
    got = []
    copy_frames(Scripted(pieces_of(encoded(parts), cuts)), got.append)
    assert b"".join(got) == b"".join(data for _, data in parts)


@given(frames, st.integers(9, 64))
def test_a_small_buffer_gives_the_same(parts, size):
    before, streams._READ = streams._READ, size
    try:
        got = []
        copy_frames(Scripted([encoded(parts)]), got.append)
    finally:
        streams._READ = before
    assert b"".join(got) == b"".join(data for _, data in parts)


@given(frames, st.lists(st.integers(0, 1 << 10), max_size=4))
def test_a_real_socket_gives_the_same(parts, cuts):
    assert copied(pieces_of(encoded(parts), cuts)) == b"".join(data for _, data in parts)


def test_a_frame_larger_than_the_buffer_passes_through():
    data = bytes(range(256)) * (3 << 12)
    assert copied([encoded([(1, data), (2, b"end")])]) == data + b"end"


def test_a_stream_that_breaks_off_gives_what_came():
    text = encoded([(1, b"whole"), (1, b"torn")])
    assert copied([text[:-2]]) == b"wholeto"


def test_a_connection_that_is_reset_ends_the_copy():
    class Reset:
        def recv_into(self, _view):
            raise ConnectionResetError

    got = []
    copy_frames(Reset(), got.append)
    assert got == []
