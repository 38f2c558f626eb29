"""``python -m monitor.cli`` is ``vedette``."""

from monitor.cli import app

app(prog_name="vedette")
