"""A host by ssh: a real server on this machine's loopback, with keys of its own."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import needs

from edgekit.benchmarks.devices.named import transport_named
from edgekit.benchmarks.devices.ssh import Ssh, ssh_host
from edgekit.benchmarks.devices.transport import ask
from edgekit.cli.main import run
from edgekit.core.errors import DeviceUnreachable, EdgekitError

pytestmark = [needs.SSH_SERVER, needs.C_COMPILER, pytest.mark.xdist_group("device")]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Path]:
    """A folder whose `config` lets ssh log in to "board": an sshd of this test alone."""
    place = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key", "stranger"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)]
        subprocess.run(words, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "authorized").write_text((place / "key.pub").read_text())
    (place / "sshd").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile none\n"
        f"AuthorizedKeysFile {place}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    (place / "config").write_text(
        f"Host board\nHostName 127.0.0.1\nPort {port}\nIdentityFile {place}/key\n"
        f"IdentitiesOnly yes\nUserKnownHostsFile {place}/known\nStrictHostKeyChecking no\n"
        f"LogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server drops its privileges
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(place / "sshd")], stderr=subprocess.DEVNULL
    )
    ends = time.monotonic() + 10
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < ends:
        time.sleep(0.05)
    yield place
    process.kill()
    process.wait()


@pytest.fixture
def board(server, tmp_path, monkeypatch) -> Path:
    """The same ssh with the server's configuration, first in PATH; a home of its own."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {server}/config "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return server


def test_commands_keep_their_exit_code_and_output(board):
    answer = ask(ssh_host("board"), "echo out; echo err >&2; exit 7")

    assert (answer.code, answer.out, answer.err) == (7, "out\n", "err\n")


def test_files_go_and_come_back_byte_for_byte(board, tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "a").write_bytes(content)
    transport = ssh_host("board")

    transport.push(tmp_path / "a", str(tmp_path / "there it's"))
    transport.pull(str(tmp_path / "there it's"), tmp_path / "b")

    assert (tmp_path / "b").read_bytes() == content
    with pytest.raises(DeviceUnreachable, match=r"copying .* failed: .*No such file"):
        transport.pull(str(tmp_path / "nothing"), tmp_path / "b")


def test_a_bundle_is_measured_through_ssh(board, toy_bundle, tmp_path):
    file = tmp_path / "board.json"

    words = ["--device", "ssh:board", "--calls", "30", "--out", str(file), "-q"]
    code = run(["bench", str(toy_bundle), *words])

    result = json.loads(file.read_text())
    assert code == 0
    assert result["device"]["name"] == "ssh:board"
    assert [row["max_abs"] for row in result["rows"]] == [0.0, 0.0]
    assert all(len(row["wall_ms"]) == 30 for row in result["rows"])


def test_a_key_that_is_not_let_in_is_said(server):
    config = (server / "config").read_text().replace("/key\n", "/stranger\n")
    (server / "config2").write_text(config)
    stranger = Ssh("board", None, ("-F", f"{server}/config2", "-o", "ControlPath=none"))

    with pytest.raises(DeviceUnreachable, match="does not let us in") as refused:
        stranger.check()

    assert "ssh-add" in refused.value.hint
    assert refused.value.exit_code == 8


def test_a_host_that_is_not_there_is_said(board, toy_bundle, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    code = run(["bench", str(toy_bundle), "--device", f"ssh:127.0.0.1:{port}"])

    said = capsys.readouterr().err
    assert code == 8
    assert "Connection refused" in said
    assert "start the ssh server" in said


@pytest.mark.parametrize("text", ["ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a;b"])
def test_what_is_no_host_never_reaches_ssh(text):
    with pytest.raises(EdgekitError, match="names no") as refused:
        transport_named(text)

    assert refused.value.exit_code == 2
