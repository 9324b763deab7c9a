"""The browser's fixtures for these tests."""

from tests.browser import chromium, tab

__all__ = ["chromium", "tab"]
