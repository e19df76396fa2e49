"""A real Chromium: the one that is installed, else one that Playwright fetches."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FETCH_SECONDS_MAX = 300
ADVICE = (
    "The tests of the panel need Chromium or Chrome, found none on PATH, and could not fetch one. "
    "Install it (Debian: apt-get install chromium) and run them again."
)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoChromium(Exception):
    """There is no browser to test with."""


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run a browser for the length of the block.

    Raises:
        NoChromium: none is installed and none can be fetched; says what to install.
    """
    async with async_playwright() as playwright:
        executable = installed() or fetched(Path(playwright.chromium.executable_path))
        browser = await playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


def installed() -> str | None:
    """Find a browser on PATH."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def fetched(executable: Path) -> str:
    """Have Playwright fetch its own browser, unless that was done before.

    Raises:
        NoChromium: it cannot.
    """
    if not executable.exists():
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=FETCH_SECONDS_MAX)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoChromium(ADVICE) from error
    return str(executable)
