from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from monitor.storage.engine import create_engine


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a migrated, empty database of the test's own."""
    engine = create_engine(database_url, role="test")
    yield engine
    engine.dispose()
