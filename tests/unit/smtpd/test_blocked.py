"""Which SMTP services refuse blocked addresses (A12)."""

import pytest

from echomox.config.schema import Limits
from echomox.net.blocks import FILE, Block, BlockList, write_blocks
from echomox.net.limit import BLOCKED
from tests.unit.net.support import Host
from workers.smtp import settings


@pytest.mark.parametrize(
    "service, block_smtp, refusal",
    [("smtp", False, ""), ("smtp", True, BLOCKED), ("submission", False, BLOCKED), ("submission", True, BLOCKED)],
)
def test_port_25_stays_open_unless_it_is_set(tmp_path, service, block_smtp, refusal):
    host = Host(tmp_path, limits=Limits(block_smtp=block_smtp))
    host.service, host.name, host.use_connections = service, f"{service}.0", lambda n: None
    host.paths.spool.mkdir()
    write_blocks(host.paths.data / FILE, BlockList((Block("192.0.2.0/24", 0.0, 9e9, "why"),)))
    connections = settings(host).connections
    assert connections.admit("192.0.2.1") == refusal and connections.admit("198.51.100.1") == ""
