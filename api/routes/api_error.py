"""What every error of the HTTP layer can do: say itself as a problem document."""

from typing import ClassVar

from api.routes.problems import Problem, describe


class ApiError(Exception):
    """The call is not done. The message is the problem's `detail`."""

    code: ClassVar[str]

    @property
    def detail(self) -> str:
        """The message, for people."""
        return str(self)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's header fields say beside the document."""
        return {}

    def problem(self, *, status: int) -> Problem:
        """Write this error as a problem document."""
        return describe(code=self.code, status=status, detail=self.detail)
