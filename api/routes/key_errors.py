"""Why a key that is good opens nothing here: it was made for other things, or is of another kind."""

from typing import Literal

import msgspec

from api.routes.errors import Forbidden
from api.routes.problems import ScopeProblem
from api.store.scopes import Scope


class MissingScope(Forbidden):
    """The key was made for other things."""

    code = "missing-scope"

    def __init__(self, opening: tuple[Scope, ...]) -> None:
        self.opening = opening
        names = " or ".join(f"`{scope.value}`" for scope in opening)
        super().__init__(f"This call needs an API key with the scope {names}.")

    @property
    def headers(self) -> dict[str, str]:
        """The challenge (RFC 6750 3.1)."""
        return {
            "WWW-Authenticate": 'Bearer realm="turnledger", error="insufficient_scope", '
            f'scope="{self.opening[0].value}"'
        }

    def problem(self, *, status: int) -> ScopeProblem:
        """Name the scope."""
        return ScopeProblem(
            **msgspec.structs.asdict(super().problem(status=status)),
            scope=self.opening[0],
            any_of=self.opening,
        )


class WrongKindOfKey(Forbidden):
    """A key of the installation where one of an organization is needed, or the other way round."""

    def __init__(self, *, needed: Literal["organization", "installation"]) -> None:
        self.needed = needed
        self.code = f"{needed}-key-needed"
        super().__init__(f"This call needs a key of {'the' if needed == 'installation' else 'an'} {needed}.")
