"""Errors that a caller of a query is meant to read: each becomes `{"error": …, "code": …}` on the bus."""


class QueryError(Exception):
    """A query that cannot be answered: `code` is snake_case for programs, `message` a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def answer(self) -> dict[str, str]:
        """The error object of the bus."""
        return {"error": self.message, "code": self.code}
