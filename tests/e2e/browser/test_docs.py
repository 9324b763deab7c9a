"""The page of the API's description, in a browser, under a policy without exceptions."""

from tests.browser import OpenTab
from tests.peers import Server


def test_the_page_shows_every_operation_and_breaks_no_policy(server: Server, tab: OpenTab) -> None:
    page = tab()
    page.open(server.url("/api/docs"))
    page.wait("document.querySelectorAll('.opblock').length > 5")
    page.page.click(".opblock-summary >> nth=0")
    page.wait("document.querySelector('.opblock-body') !== null")
