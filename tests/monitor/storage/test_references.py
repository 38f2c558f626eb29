import threading
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import NotFound, PermanentError
from monitor.storage import references
from monitor.storage.engine import reading, transaction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _save(engine, id_, version="1", model="m", data=b"data", now=NOW):
    with transaction(engine) as conn:
        references.save_reference(
            conn, id=id_, model=model, version=version, n_events=9, pane_s=10, summary={"p": 3}, data=data, now=now
        )


def _activate(engine, id_):
    with transaction(engine) as conn:
        references.activate_reference(conn, id_)


def _active(engine, version="1", model="m"):
    with reading(engine) as conn:
        found = references.active_reference(conn, model, version)
    return found and found.id


def test_a_reference_is_not_active_until_it_is_activated(engine):
    _save(engine, "r1")
    assert _active(engine) is None
    _activate(engine, "r1")
    with reading(engine) as conn:
        assert references.active_reference(conn, "m", "1") == references.StoredReference(
            "r1", "m", "1", True, 9, 10, {"p": 3}, NOW
        )
        assert references.reference_data(conn, "r1") == b"data"


def test_one_reference_of_a_model_version_is_active(engine):
    for id_ in ("r1", "r2"):
        _save(engine, id_)
        _activate(engine, id_)
        _activate(engine, id_)
    _save(engine, "other", version="2")
    _activate(engine, "other")
    assert (_active(engine), _active(engine, "2")) == ("r2", "other")
    _activate(engine, "r1")
    with reading(engine) as conn:
        active = {found.id: found.active for found in references.list_references(conn)}
    assert active == {"r1": True, "r2": False, "other": True}


def test_a_version_without_a_reference_of_its_own_is_served_by_the_one_without_a_version(engine):
    _save(engine, "any", version="")
    _save(engine, "own", version="2")
    _activate(engine, "any")
    _activate(engine, "own")
    assert [_active(engine, version) for version in ("1", "2", "")] == ["any", "own", "any"]
    assert _active(engine, model="another") is None


def test_names_that_no_database_takes_have_no_reference(engine):
    assert _active(engine, version="\ud800", model="m\x00") is None


def test_saving_the_same_reference_again_changes_nothing(engine):
    _save(engine, "r1")
    _activate(engine, "r1")
    _save(engine, "r1", data=b"other")
    with reading(engine) as conn:
        assert references.reference_data(conn, "r1") == b"data"
    assert _active(engine) == "r1"


def test_references_are_listed_by_model_and_version_newest_first(engine):
    for i, (id_, version) in enumerate([("a", "2"), ("b", "1"), ("c", "1")]):
        _save(engine, id_, version=version, now=NOW + timedelta(seconds=i))
    with reading(engine) as conn:
        assert [found.id for found in references.list_references(conn)] == ["c", "b", "a"]


def test_an_unknown_reference_is_named(engine):
    with pytest.raises(NotFound, match="there is no reference 'r9': `vedette reference list`"):
        _activate(engine, "r9")
    with pytest.raises(PermanentError, match="there is no reference 'r9'"), reading(engine) as conn:
        references.reference_data(conn, "r9")


def test_activating_from_several_threads_leaves_one_active(engine):
    ids = [f"r{i}" for i in range(4)]
    failures = []
    for id_ in ids:
        _save(engine, id_)

    def activate(id_):
        try:
            for _ in range(5):
                _activate(engine, id_)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=activate, args=(id_,)) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as conn:
        assert (failures, sum(found.active for found in references.list_references(conn))) == ([], 1)
