"""Providers' text as it can be stored: no U+0000, which Postgres refuses, and no halves of characters."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Join halves of characters (UTF-16 surrogates) that belong together; replace lone ones and U+0000."""
    if text.isascii() and "\x00" not in text:
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\x00", REPLACEMENT)


class StorableStream:
    """The same for text that comes in pieces: some servers split a character between two of them."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """What can be said now; a half character at the end waits for its other half."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return storable(text[: len(text) - len(self._half)])

    def end(self) -> str:
        """What is left when no more comes."""
        text, self._half = storable(self._half), ""
        return text
