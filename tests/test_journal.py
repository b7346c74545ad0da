"""The journal loses nothing that it said was on disk, whatever is cut off, flipped or refused."""

import errno
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.errors import InputError
from brushwork.journal import Journal, Record, encoded, read_records

RECORDS = [Record({"n": i, "name": "ä" * i}, bytes(range(i))) for i in range(5)]


def quiet(error):
    raise AssertionError(error)


def written(path, records=RECORDS):
    path.write_bytes(b"".join(encoded(r) for r in records))
    return path


def reopened(path):
    journal, records = Journal.open(path, failed=quiet)
    journal.close()
    return records, journal.left_aside


class FullDisk:
    """A file that takes `room` bytes and then fails like a full disk."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = self.file.write(bytes(data)[: self.room])
        self.room -= n
        return n


header = st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans(), st.none()))


@given(st.lists(st.builds(Record, header, st.binary())))
def test_records_come_back_as_they_were(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("journal") / "log"
    journal, _ = Journal.open(path, failed=quiet)
    for record in records:
        journal.append(record)
    journal.close()
    assert read_records(path) == (records, path.stat().st_size)


def test_an_appended_record_is_on_disk_without_asking(tmp_path):
    journal, _ = Journal.open(tmp_path / "log", failed=quiet)
    journal.append(RECORDS[3])
    waited = threading.Event()
    while journal.unsaved:
        waited.wait(0.005)
    assert read_records(tmp_path / "log")[0] == [RECORDS[3]]
    journal.close()


def test_cut_at_every_byte_all_whole_records_are_read_and_the_rest_is_kept(tmp_path):
    whole = written(tmp_path / "whole").read_bytes()
    ends = [len(b"".join(encoded(r) for r in RECORDS[:n])) for n in range(len(RECORDS) + 1)]
    for cut in range(len(whole) + 1):
        path = tmp_path / f"cut{cut}"
        path.write_bytes(whole[:cut])
        n = sum(end <= cut for end in ends) - 1
        records, aside = reopened(path)
        assert records == RECORDS[:n]
        assert path.read_bytes() == whole[: ends[n]]
        if cut > ends[n]:
            assert aside is not None
            assert aside.read_bytes() == whole[ends[n] : cut]
        else:
            assert aside is None


def test_any_flipped_byte_is_noticed(tmp_path):
    whole = written(tmp_path / "whole").read_bytes()
    ends = [len(b"".join(encoded(r) for r in RECORDS[:n])) for n in range(len(RECORDS) + 1)]
    for at in range(len(whole)):
        path = tmp_path / "flipped"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        n = sum(end <= at for end in ends) - 1
        assert read_records(path) == (RECORDS[:n], ends[n])


def test_after_damage_in_the_middle_the_journal_goes_on_and_each_rest_is_kept(tmp_path):
    path = written(tmp_path / "log")
    for n in (1, 2):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        journal, records = Journal.open(path, failed=quiet)
        assert journal.left_aside == tmp_path / f"log.damaged-{n}"
        assert encoded(RECORDS[4])[:-1] == journal.left_aside.read_bytes()[:-1]
        journal.append(RECORDS[4])
        journal.close()
        assert read_records(path)[0] == [*records, RECORDS[4]]


def test_zeros_at_the_end_are_no_records(tmp_path):
    path = written(tmp_path / "log")
    path.write_bytes(path.read_bytes() + bytes(4096))  # what some file systems leave after a power cut
    assert reopened(path)[0] == RECORDS


def test_an_empty_file_is_an_empty_journal(tmp_path):
    (tmp_path / "log").touch()
    assert reopened(tmp_path / "log") == ([], None)


def test_read_only_writes_nothing(tmp_path):
    path = written(tmp_path / "log")
    path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    journal, records = Journal.open(path, failed=quiet, read_only=True)
    assert records == RECORDS[:-1]
    with pytest.raises(InputError, match="not open for writing"):
        journal.append(RECORDS[0])
    journal.flush()
    journal.close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("room", range(0, 120, 7))
def test_a_full_disk_loses_nothing_and_is_told_once(tmp_path, room):
    told = []
    journal, _ = Journal.open(tmp_path / "log", failed=told.append)
    real = journal._file
    journal._file = FullDisk(real, room)
    for record in RECORDS:
        journal.append(record)
    with pytest.raises(OSError, match="No space left"):
        journal.flush()
    with pytest.raises(OSError, match="No space left"):
        journal.close()
    stored, n_good = read_records(tmp_path / "log")
    assert stored == RECORDS[: len(stored)]
    assert (tmp_path / "log").stat().st_size == n_good  # half a frame is cut off as soon as it fails or before the next
    assert journal.unsaved == len(RECORDS) - len(stored)
    assert [e.errno for e in told] == [errno.ENOSPC]
    journal._file = real
    journal.append(Record({"n": "later"}))
    journal.close()
    assert read_records(tmp_path / "log")[0] == [*RECORDS, Record({"n": "later"})]


def test_a_disk_that_fills_again_is_told_again(tmp_path):
    told, tell = [], threading.Event()
    journal, _ = Journal.open(tmp_path / "log", failed=lambda error: (told.append(error), tell.set()))
    real = journal._file
    for n in (1, 2):
        journal._file = FullDisk(real, 3)
        journal.append(RECORDS[1])
        assert tell.wait(10)
        tell.clear()
        assert len(told) == n
        journal._file = real
        journal.flush()
    journal.close()
    assert read_records(tmp_path / "log")[0] == [RECORDS[1]] * 2


def test_an_answer_to_a_failure_that_fails_does_not_stop_the_writing(tmp_path, caplog):
    asked = threading.Event()

    def broken(error):
        asked.set()
        raise ValueError("in the callback")

    journal, _ = Journal.open(tmp_path / "log", failed=broken)
    real = journal._file
    journal._file = FullDisk(real, 0)
    journal.append(RECORDS[1])
    assert asked.wait(10)
    journal._file = real
    journal.close()
    assert read_records(tmp_path / "log")[0] == [RECORDS[1]]
    assert "failed itself" in caplog.text


def test_many_threads_may_append(tmp_path):
    journal, _ = Journal.open(tmp_path / "log", failed=quiet)

    def append(k):
        for i in range(50):
            journal.append(Record({"k": k, "i": i}))

    threads = [threading.Thread(target=append, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    records = [r.header for r in read_records(tmp_path / "log")[0]]
    for k in range(4):
        assert [r["i"] for r in records if r["k"] == k] == list(range(50))


def test_restarting_keeps_the_earlier_file_and_begins_an_empty_one(tmp_path):
    journal, _ = Journal.open(tmp_path / "log", failed=quiet)
    journal.append(RECORDS[1])
    journal.restart(tmp_path / "earlier")
    journal.append(RECORDS[2])
    journal.close()
    assert read_records(tmp_path / "earlier")[0] == [RECORDS[1]]
    assert read_records(tmp_path / "log")[0] == [RECORDS[2]]


def test_where_restarting_fails_the_journal_goes_on(tmp_path):
    journal, _ = Journal.open(tmp_path / "log", failed=quiet)
    journal.append(RECORDS[1])
    with pytest.raises(OSError, match="nowhere"):
        journal.restart(tmp_path / "nowhere" / "earlier")
    journal.append(RECORDS[2])
    journal.close()
    assert read_records(tmp_path / "log")[0] == [RECORDS[1], RECORDS[2]]
