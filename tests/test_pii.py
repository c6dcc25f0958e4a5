import json
import re
from itertools import pairwise

import polars as pl
import pytest

from evalbench.pii import SUSPECT, find_personal, redact_columns, redact_text

PERSONAL = {
    "jane.doe@example.co.uk": "EMAIL",
    "josé@exämple.de": "EMAIL",
    "+1 415-555-2671": "PHONE",
    "+44 20 7946 0958": "PHONE",
    "+14155552671": "PHONE",
    "0049 30 901820": "PHONE",
    "(415) 555-2671": "PHONE",
    "415.555.2671": "PHONE",
    "01 23 45 67 89": "PHONE",
    "020 7946 0958": "PHONE",
    "4111 1111 1111 1111": "CARD",
    "5500-0000-0000-0004": "CARD",
    "378282246310005": "CARD",
    "3782 822463 10005": "CARD",
    "DE89 3704 0044 0532 0130 00": "IBAN",
    "GB82WEST12345698765432": "IBAN",
    "192.168.1.17": "IP",
    "2001:db8:85a3::8a2e:370:7334": "IP",
    "fe80::1ff:fe23:4567:890a": "IP",
    "sk-proj-abcdefghijklmnop1234": "KEY",
    "sk_live_abcdefghijklmnop1234": "KEY",
    "AKIAIOSFODNN7EXAMPLE": "KEY",
    "ghp_" + "a1" * 18: "KEY",
    "xoxb-123456789012-abcdef": "KEY",
    "AIza" + "A1b2C" * 7: "KEY",
    "hf_" + "Ab1" * 11: "KEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc": "KEY",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----": "KEY",
}
HARMLESS = [
    "reservation 4155552671",
    "order 4111111111111112",
    "2024-05-15 15:00:00 EST",
    "2024-05-15 2024-05-16 2024",
    "01-02-2024 10:30",
    "$1,234.56 and 3.14 and 100.000.000,00",
    "1700000000000000",
    "1715785200.123456",
    "550e8400-e29b-41d4-a716-446655440000",
    "0123456789abcdef0123456789abcdef",
    "v1.2.3.4 and version 1.2.3.4",
    "127.0.0.1",
    "at 12:30:45",
    "std::vector a::b face::add",
    "00:1A:2B:3C:4D:5E",
    "@mention foo@ bar",
    "sk-learn, bearer of bad news, Bearer authentication-required",
    "SKU AB12 3456 7890 1234",
    "certificate_7504069 credit_card_1234567",
    "call 911 now",
    "phones 2 and 3 of 2024",
    "immediately 2.5 times",
]


def redact(text, session="s", secret="k"):
    return redact_text(text, session, secret=secret)


@pytest.mark.parametrize(("value", "kind"), PERSONAL.items())
def test_personal_data_becomes_a_typed_placeholder_wherever_it_stands(value, kind):
    for text in (value, f"before {value} after", f"({value}), and so on", f"is:\n{value}\n"):
        pattern = re.escape(text).replace(re.escape(value), rf"<{kind}_\d{{5}}>")
        assert re.fullmatch(pattern, redact(text)), redact(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_look_alikes_stay(text):
    assert redact(text) == text


@pytest.mark.parametrize("word", ["phone:", "my phone number is", "Tel.", "WhatsApp", "mobile no."])
def test_a_word_makes_a_bare_number_a_phone(word):
    assert re.fullmatch(rf"{re.escape(word)} <PHONE_\d+>", redact(f"{word} 4155552671"))


@pytest.mark.parametrize("value", PERSONAL)
def test_the_quick_pass_lets_nothing_personal_through(value):
    assert pl.Series([f"before {value} after"]).str.contains(SUSPECT).item()


def test_a_value_has_one_placeholder_in_a_session_and_another_elsewhere():
    spellings = ["+1 415 555 2671", "(415) 555-2671", "+14155552671"]
    assert len({redact(spelling) for spelling in spellings}) == 1
    assert redact("A@b.com") == redact("a@b.com")
    assert len({redact("a@b.com", session) for session in "rst"}) == 3
    assert redact("a@b.com") != redact("a@b.com", secret="other")
    assert redact("a@b.com") != redact("c@b.com")


def test_the_word_after_an_iban_stays():
    assert re.fullmatch(r"<IBAN_\d+> PLEASE", redact("DE89370400440532013000 PLEASE"))


def test_json_stays_json_with_the_same_shape():
    value = {
        "text": "line\nx@y.com\t\u00e9",
        "phone_number": "4155552671",
        "reservation": "4155552671",
        "card": 4111111111111111,
        "arguments": json.dumps({"to": "q@r.org"}),
        "by": {"a@b.com": [1, None, True, 2.5]},
    }
    read = json.loads(redact(json.dumps(value)))
    assert re.fullmatch(r"line\n<EMAIL_\d+>\t\u00e9", read["text"])
    assert read["phone_number"].startswith("<PHONE_")
    assert read["reservation"] == "4155552671"
    assert read["card"].startswith("<CARD_")
    assert json.loads(read["arguments"])["to"].startswith("<EMAIL_")
    assert list(read["by"].values()) == [[1, None, True, 2.5]]
    assert "a@b.com" not in read["by"]


def test_json_without_personal_data_keeps_its_bytes():
    text = '{ "a" : [1,  2.50], "b": "\\u00e9 phone" }'
    assert redact(text) == text


def test_broken_and_very_deep_json_are_redacted_as_text():
    assert "a@b.com" not in redact('{"to": "a@b.com", ')
    deep = "[" * 900 + '"a@b.com"' + "]" * 900
    assert "a@b.com" not in redact(deep)


def test_found_values_do_not_overlap_and_stand_in_order():
    text = "mail a@b.com or +1 415-555-2671, card 4111 1111 1111 1111, ip 10.1.2.3"
    found = find_personal(text)
    assert [each.kind for each in found] == ["EMAIL", "PHONE", "CARD", "IP"]
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_every_text_column_is_redacted_and_nothing_else_changes():
    documents = [{"id": "d", "content": "by a@b.com", "score": 0.5}, {"id": "e", "content": "no"}]
    frame = pl.DataFrame(
        {
            "session_id": ["s", "t", "u", "v"],
            "input": ["a@b.com", None, "a@b.com", "plain"],
            "attributes": ['{"mail": "a@b.com"}', "{}", None, None],
            "name": ["a@b.com"] * 4,
            "documents": [documents, None, [], [documents[1]]],
        }
    )
    before = frame.clone()
    redacted = redact_columns(frame, secret="k")
    assert frame.equals(before)
    assert redacted.schema == frame.schema
    assert redacted["name"].equals(frame["name"])
    first = redacted["input"][0]
    assert first.startswith("<EMAIL_")
    assert redacted["input"].to_list() == [first, None, redact("a@b.com", "u"), "plain"]
    assert json.loads(redacted["attributes"][0]) == {"mail": first}
    assert redacted["documents"].to_list() == [
        [{"id": "d", "content": f"by {first}", "score": 0.5}, {**documents[1], "score": None}],
        None,
        [],
        [{**documents[1], "score": None}],
    ]
