import pytest

pytest.register_assert_rewrite("tests.monitor.sources.contract")
