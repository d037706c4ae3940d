"""The record of a cluster, names, locks, and the folder that is not ours."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from coral_localcluster.errors import ClusterStateError, WaitTimeoutError
from coral_localcluster.locking import exclusive_lock_dir
from coral_localcluster.paths import check_cluster_name, state_dir_of
from coral_localcluster.processes import ProcessRecord, current_process, is_running
from coral_localcluster.state import STATE_FILE, ClusterState, read_state
from coral_localcluster.teardown import destroy
from coral_localcluster.waiting import poll_until

if TYPE_CHECKING:
    from pathlib import Path

STARTED, EARLIER = "boot:42", "earlier-boot:1"
ETCD = ProcessRecord(component="etcd", pid=7, start_token=STARTED)


def test_state_survives_the_file(tmp_path: Path) -> None:
    """What is written is what is read."""
    state = ClusterState(
        name="a", provider="controlplane", port=6443, is_ready=True, owner=ETCD
    ).with_process(ETCD)
    state.write(tmp_path)
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_no_file_is_no_cluster(tmp_path: Path) -> None:
    """An absent folder is no fault."""
    assert read_state(tmp_path / "absent") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}'])
def test_unreadable_state_is_a_typed_fault(tmp_path: Path, content: str) -> None:
    """A damaged record is named, and never taken for an empty one."""
    (tmp_path / STATE_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ClusterStateError, match=r"state\.json") as caught:
        read_state(tmp_path)
    assert caught.value.reason == "StateUnreadable"


def test_destroy_of_stale_state_spares_reused_pids(tmp_path: Path) -> None:
    """After a crash the recorded number may be another program's: here, this one's."""
    me = current_process("etcd")
    stale = ProcessRecord(component="etcd", pid=me.pid, start_token=EARLIER)
    folder = tmp_path / "c"
    folder.mkdir()
    ClusterState(name="c", provider="controlplane", processes=(stale,)).write(folder)
    assert destroy(folder)
    assert is_running(me)
    assert not folder.exists()


def test_destroy_of_nothing_says_so(tmp_path: Path) -> None:
    """Ending what is not there is no fault."""
    assert not destroy(tmp_path / "absent")


def test_destroy_spares_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    """A mistaken path does not cost the user's files."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ClusterStateError) as caught:
        destroy(tmp_path)
    assert caught.value.reason == "NotAStateDir"
    assert (tmp_path / "thesis.tex").exists()


def test_lock_of_a_removed_folder_is_not_enough(tmp_path: Path) -> None:
    """Who waited for a folder that was removed locks the one that took its place."""
    folder = tmp_path / "c"
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with exclusive_lock_dir(folder, create=True):
            order.append("second")
            assert folder.is_dir()

    with exclusive_lock_dir(folder, create=True):
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        folder.rmdir()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert folder.is_dir()


def test_a_folder_that_goes_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``mkdir`` finds the folder there, looks again, and it is gone: no fault of the caller's."""
    folder = tmp_path / "c"
    answers = [FileExistsError(str(folder))]
    mkdir = type(folder).mkdir

    def racing(self: Path, *args: Any, **options: Any) -> None:
        if answers:
            raise answers.pop()
        mkdir(self, *args, **options)

    monkeypatch.setattr(type(folder), "mkdir", racing)
    with exclusive_lock_dir(folder, create=True) as is_locked:
        assert is_locked
        assert folder.is_dir()


def test_a_file_in_the_folders_place_is_a_fault(tmp_path: Path) -> None:
    """It is not waited for, and not removed."""
    (tmp_path / "c").touch()
    with pytest.raises(FileExistsError), exclusive_lock_dir(tmp_path / "c", create=True):
        pass


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 41, "a b"])
def test_bad_names_are_refused(name: str) -> None:
    """A name is a folder's, so it may not lead elsewhere."""
    with pytest.raises(ClusterStateError) as caught:
        check_cluster_name(name)
    assert caught.value.reason == "InvalidClusterName"


def test_state_folder_can_be_chosen(clusters_home: Path) -> None:
    """The environment variable moves all kept clusters."""
    assert state_dir_of("dev") == clusters_home / "dev"


def test_poll_asks_once_more_at_the_deadline() -> None:
    """With no time at all the question is still asked."""
    assert poll_until(lambda: "yes", timeout_s=0, what="an answer") == "yes"


def test_poll_says_what_it_waited_for() -> None:
    """A timeout names the thing and what is known about it."""
    with pytest.raises(WaitTimeoutError, match=r"0\.01 s waiting for rain: sunny") as caught:
        poll_until(
            lambda: None, timeout_s=0.01, interval_s=0.001, what="rain", detail=lambda: "sunny"
        )
    assert caught.value.reason == "WaitTimeout"


def test_state_file_is_plain_json(tmp_path: Path) -> None:
    """People may look at it."""
    ClusterState(name="a", provider="controlplane").with_process(ETCD).write(tmp_path)
    document = json.loads((tmp_path / STATE_FILE).read_text(encoding="utf-8"))
    assert document["processes"] == [{"component": "etcd", "pid": 7, "start_token": STARTED}]
