"""Texts are compared by their hash, in bounded memory."""

from trl_mcp.data.scan import Texts


def test_a_text_is_known_from_its_second_time_on() -> None:
    texts = Texts()
    assert [texts.is_known(hash(text)) for text in ("a", "b", "a", "a", "c")] == [False, False, True, True, False]
    assert hash("b") in texts
    assert hash("d") not in texts
    assert texts.one_in == 1


def test_beyond_the_limit_a_share_of_the_texts_stands_for_all() -> None:
    texts = Texts(most=1000)
    hashes = [hash(str(number)) for number in range(40_000)]
    assert not any(texts.is_known(text_hash) for text_hash in hashes)
    assert len(texts) <= 1000
    assert texts.one_in >= 32
    found = sum(texts.is_known(text_hash) for text_hash in hashes)
    assert 0.8 * 40_000 < found * texts.one_in < 1.2 * 40_000
