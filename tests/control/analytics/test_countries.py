"""A list of ranges: who is in which country, and what is no list."""

from pathlib import Path

import pytest

from control.analytics.countries import Countries, NoAtlas

LIST = """\
# a comment
1.0.0.0,1.0.0.255,AU,Oceania
1.0.1.0,1.0.3.255,cn
5.0.0.0,5.255.255.255,-
8.8.8.0,8.8.8.255,"US"

2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,DE
9.0.0.0,9.0.0.0,FR
2001:db8:2::,2001:db8:2::7fff:ffff:ffff:ffff,IT
2001:db8:2::8000:0:0:0,2001:db8:3:ffff:ffff:ffff:ffff:ffff,ES
2001:db8:9::,2001:db8:9::f,PT
2001:db8:9::10,2001:db8:9::ff,GB
"""


@pytest.fixture
def countries(tmp_path: Path) -> Countries:
    (tmp_path / "list.csv").write_text(LIST)
    return Countries(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("1.0.0.0", "AU"), ("1.0.0.255", "AU"), ("1.0.1.0", "CN"), ("1.0.3.255", "CN"), ("1.0.4.0", None),
        ("0.255.255.255", None), ("5.6.7.8", None), ("8.8.8.8", "US"), ("::ffff:8.8.8.8", "US"), ("9.0.0.0", "FR"),
        ("9.0.0.1", None), ("255.255.255.255", None), ("2001:db8::1", "DE"), ("2001:db8:0:1234::1", "DE"),
        ("2001:db8:1::", None), ("2001:db8:2::1", "IT"), ("2001:db8:2:1::", "ES"), ("2001:db8:9::10", "PT"),
        ("fe80::1%eth0", None), ("::1", None), ("unix", None), ("", None),
    ],
)  # fmt: skip
def test_an_address_is_where_its_range_is(countries: Countries, address: str, country: str | None) -> None:
    assert countries.country(address) == country


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("1.0.0.0,1.0.0.255", "line 2 is not FIRST,LAST,CC"),
        ("16777216,16777471,AU", "line 2 is not FIRST,LAST,CC"),
        ("1.0.0.0,2001:db8::,AU", "line 2 is not FIRST,LAST,CC"),
        ("1.0.0.0,1.0.0.255,Australia", "line 2 is not FIRST,LAST,CC"),
        ("1.0.0.255,1.0.0.0,AU", "line 2 is out of order"),
        ("0.0.0.0,0.0.0.9,AU", "line 2 is out of order"),
        ("0.1.0.255,1.0.0.255,AU", "line 2 is out of order"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(tmp_path: Path, line: str, wrong: str) -> None:
    (tmp_path / "list.csv").write_text(f"0.1.0.0,0.1.0.255,US\n{line}\n")
    with pytest.raises(ValueError, match=wrong):
        Countries(tmp_path / "list.csv")


def test_without_a_list_nothing_is_known() -> None:
    assert NoAtlas().country("8.8.8.8") is None
