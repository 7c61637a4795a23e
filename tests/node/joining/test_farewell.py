"""A node 0 that cannot begin is heard wherever the others call it."""

import threading

import pytest

from madrun.node.channel.link import Aborted, PeerLink, connect
from madrun.node.channel.protocol import hello
from madrun.node.joining.farewell import farewell
from madrun.spec.topology import Meeting

pytestmark = pytest.mark.slow  # real processes or commands in most of them


@pytest.mark.parametrize(("said", "called"), [("[::1]", "::1"), ("::1", "::1"), ("127.0.0.1", "127.0.0.1")])
def test_node_0_is_heard_in_the_family_of_its_address(port, said, called):
    meeting = Meeting(nnodes=2, node_rank=0, address=said, port=port, hostname="alpha", cards="one")
    leaving = threading.Thread(target=farewell, args=(meeting, "no disk"))
    leaving.start()
    link = PeerLink(connect(called, port, 60, lambda *_: None), lambda *_: None, lambda: None)
    link.greet(hello(1, 2, "beta", "one"))
    with pytest.raises(Aborted, match=r"node 0 \(alpha\) could not begin: no disk"):
        link.meet("join/jobs")
    link.close()
    leaving.join(60)
    assert not leaving.is_alive()
