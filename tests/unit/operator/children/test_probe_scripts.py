"""The scripts that workers run, run for real against a server on the loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from coral_operator.children.probes import CHECK_LEADER, WAIT_FOR_LEADER


class Leader:
    """An HTTP server that answers ``/health`` with a list of statuses and then goes."""

    def __init__(self, *statuses):
        self.asked = []
        leader = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                leader.asked.append(self.path)
                self.send_response(statuses[len(leader.asked) - 1])
                self.send_header("Content-Length", "0")
                self.end_headers()
                if len(leader.asked) == len(statuses):
                    threading.Thread(target=leader.server.shutdown).start()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = str(self.server.server_port)

    def __enter__(self):
        def serve():
            self.server.serve_forever(poll_interval=0.01)
            self.server.server_close()

        self.thread = threading.Thread(target=serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()


def run(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_healthy_leader_is_found_and_remembered(tmp_path):
    with Leader(200) as leader:
        result = run(CHECK_LEADER, "localhost", leader.port, tmp_path / "leader")
    assert result.returncode == 0, result.stderr
    assert leader.asked == ["/health"]
    assert (tmp_path / "leader").read_text() == "127.0.0.1"


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_unhealthy_leader_fails_the_probe_and_is_not_remembered(tmp_path, status):
    with Leader(status) as leader:
        result = run(CHECK_LEADER, "localhost", leader.port, tmp_path / "leader")
    assert result.returncode != 0
    assert not (tmp_path / "leader").exists()


def test_a_leader_that_is_not_there_fails_the_probe(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        result = run(CHECK_LEADER, "127.0.0.1", taken.getsockname()[1], tmp_path / "leader")
    assert result.returncode != 0


def test_a_worker_stays_until_its_leader_has_gone(tmp_path):
    (tmp_path / "leader").write_text("127.0.0.1")
    with Leader(200, 200, 503) as leader:
        result = run(WAIT_FOR_LEADER, tmp_path / "leader", leader.port, 0.01)
    assert result.returncode == 0, result.stderr
    assert leader.asked == ["/health"] * 3


def test_a_worker_that_never_met_its_leader_goes_at_once(tmp_path):
    result = run(WAIT_FOR_LEADER, tmp_path / "leader", "1", 0.01)
    assert result.returncode == 0, result.stderr
