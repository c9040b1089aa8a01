"""How a script travels: compressed, deterministic, limited, and read back byte for byte."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hf.desk import HEADER
from trl_mcp.backends import hf_transport
from trl_mcp.errors import InvalidArguments, NotPossible


@given(st.text())
def test_any_script_comes_back(script: str) -> None:
    try:
        encoded = hf_transport.encode(script)
    except InvalidArguments:
        assert any("\ud800" <= character <= "\udfff" for character in script)
        return
    assert hf_transport.encode(script) == encoded
    assert hf_transport.decode({"UVSCRIPT_GZ_B64": encoded}) == script


def test_a_script_that_is_too_large_is_refused_with_its_largest_part() -> None:
    run = {"method": "sft", "reward_code": secrets.token_hex(90_000), "epochs": 1}
    with pytest.raises(InvalidArguments, match=r"At most 100,000 .*largest part is reward_code, with 180,002"):
        hf_transport.encode(f"{HEADER}RUN = {run!r}\n")
    with pytest.raises(InvalidArguments, match="Make it smaller"):
        hf_transport.encode(f"print({secrets.token_hex(90_000)!r})")


def test_what_fits_fits_into_one_variable_of_linux() -> None:
    assert hf_transport.MOST_CHARACTERS + len(hf_transport.VARIABLE) + 2 < 131_072


@pytest.mark.parametrize("value", ["", "!!", "aGVsbG8=", "H4sIAAAAAAAC/8tIzcnJBwCGphA2BQAAAA"])
def test_what_is_no_script_is_told(value: str) -> None:
    with pytest.raises(NotPossible, match="no script of this server"):
        hf_transport.decode({"UVSCRIPT_GZ_B64": value})


def test_scripts_with_different_headers_are_unpacked_to_different_folders() -> None:
    other = HEADER.replace("dependencies = []", 'dependencies = ["trl"]')
    assert other != HEADER
    assert hf_transport.folder(f"{HEADER}a") == hf_transport.folder(f"{HEADER}b")
    assert hf_transport.folder(f"{HEADER}a") != hf_transport.folder(f"{other}a")
    assert hf_transport.folder(HEADER).startswith("/tmp/")
