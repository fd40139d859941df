"""What the documentation says of the API is what the code does."""

from pathlib import Path

from gateway.http.openapi.__main__ import rewritten

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_of_the_page_are_those_of_today():
    page = (DOCS / "api.md").read_text("utf-8")
    assert "### POST /v1/chat/completions" in page
    assert rewritten(page) == page, "run: python -m gateway.http.openapi docs/api.md"
