"""Errors that answer a call."""

from dpi_dual.errors import QueryError


def test_a_refusal_is_an_answer() -> None:
    error = QueryError("not_found", "there is no such client")
    assert error.answer() == {"error": "there is no such client", "code": "not_found"}
    assert str(error) == "there is no such client"
