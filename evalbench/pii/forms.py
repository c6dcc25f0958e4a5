"""What each kind of personal data looks like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from evalbench.pii.numbers import (
    Reading,
    read_card,
    read_iban,
    read_ip_4,
    read_ip_6,
    read_phone_of,
    read_ssn,
    read_whole,
)

ALNUM, WIDE = "[A-Za-z0-9]", "[A-Za-z0-9_-]"
# What vendors' keys begin with, and how many characters of which kind follow at least.
TOKENS = {
    ALNUM: "A[KS]IA:16 [rs]k_live_:16 [rs]k_test_:16 whsec_:24 gh[oprsu]_:30 hf_:30 npm_:30 "
    "dapi:32 do[opr]_v1_:40 shp[acps][ast]_:32 gsk_:40 r8_:30 lin_api_:32 ntn_:40 key-:32",
    WIDE: "sk-:16 AIza:35 GOCSPX-:20 github_pat_:30 glpat-:20 gl[dr]t-:20 glptt-:20 "
    "xox[abeoprs]-:10 xapp-:16 pypi-:32 sq0[aci][dst]p-:20 EAAA:56 HRKU-:36 PMAK-:32 NRAK-:24 "
    "glsa_:32 xai-:40 pplx-:40 nvapi-:40 lsv2_:32 pcsk_:40 dckr_pat_:20 tvly-:20 figd_:32 "
    "sbp_:36 ATATT3:60",
}


def _cases(words: str) -> str:
    """Write words as they are spelled; an engine finds these sooner than words of any case."""
    spelled = [each for word in words.split() for each in (word, word.capitalize(), word.upper())]
    return "|".join(spelled)


def _after(names: str) -> str:
    """Write that one of the names, in any case, stands before."""
    ends = "".join(sorted({name[-1] for name in names.split()}))
    return f"(?i:(?<=[{ends}])(?:" + "|".join(f"(?<={name})" for name in names.split()) + "))"


KEY_NAMES = " ".join(
    f"{name}key {name}[_-]key"
    for name in "api access account private secret app application auth subscription heroku".split()
)
KEY_NAME = (
    r"(?:[Ss]ecret|SECRET|[Tt]oken|TOKEN"
    rf"|(?:[Kk]ey|KEY)(?=[\"'\\\s=:])(?<=[\w-]...){_after(KEY_NAMES)})"
)
PASSWORD = rf"(?:{_cases('password passwd passphrase pwd')})"
PHONE_NAME = (
    rf"(?:{_cases('phone mobil whatsapp')}|WhatsApp"
    rf"|(?:{_cases('tel fax')})(?<![A-Za-z]...)|(?:{_cases('cell')})(?<![A-Za-z]....))"
)
# What every pattern below needs, for the engine of Polars: one quick pass over a column finds the
# few texts to look at closely. Word boundaries are of ASCII: with those of Unicode that engine is
# 40 times slower on text that is not.
SUSPECT = "|".join(
    (
        r"@[0-9A-Za-z_]|@[^\x00-\x7f]",
        r"%(?:25)*[2-7][0-9A-Fa-f]|\\u00[2-7]",
        r"[0-9](?:[ .-]?[0-9]){12}",  # a card
        r"\+[0-9(]|\([0-9]{2,3}\)|[0-9]{3}[-. ][0-9]{3}[-. ][0-9]{4}|[0-9]{3}-[0-9]{2}-[0-9]{4}",
        r"(?:^|[^0-9A-Za-z_.+-]|\\[nrt])0(?:0[1-9][0-9]? |[1-9](?:[ .-][0-9]{2}){2}"
        r"|[0-9]{2,4} [0-9]{3,4} [0-9]{3}|[0-9]{2,4}/[0-9]{5}|1[5-7][0-9][ -][0-9]{3})",
        r"(?i-u:phone|mobil|whatsapp|(?-u:\b)(?:tel|fax|cell|ssn)(?-u:\b)|social security)",
        r"(?:(?-u:\b)|\\[nrt])[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}",  # an IBAN
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"[0-9A-Fa-f]::[0-9A-Fa-f]|[0-9A-Fa-f]:(?:[0-9A-Fa-f]{1,4}:){2}[0-9A-Fa-f]",
        r"(?:(?-u:\b)|\\[nrt])(?:eyJ|SG\.|ya29\.|hvs\.|AC[0-9a-f]{9}|SK[0-9a-f]{9}|"
        + "|".join(each.split(":")[0] for each in " ".join(TOKENS.values()).split())
        + ")",
        r"[0-9]{8}:[A-Za-z0-9_-]{9}|-us[0-9]|Q~|JQQJ99|PRIVATE KEY",
        r"\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{9}|services.{1,9}T|webhooks",
        r"(?i-u:bearer |basic )",
        r"(?i-u:secret|token|passwo?r?d|passphrase|pwd|[a-z][_-]?key)"
        r"""(?:["'\\]{0,6}[ \t]{0,3}[=:]| is )""",
        r"[?&][A-Za-z_-]{0,9}(?:key|sig)",
    )
)
# Countries whose national numbers are known where the text itself says that it is a phone's.
NATIONAL = (1, 44, 33, 49, 34, 39, 91, 61, 55, 52)

# Where a number begins, after its first character, which the quick search is for; and ends.
BEGIN, END = r"(?<![\w.+-].)", r"(?![\w-]|\.\d)"
NO_WORD = rf"(?<!{WIDE}.)"
SECRET = r"(?=[A-Za-z_.~+/-]*+[0-9])(?P<value>[\w~+/-](?:[\w~+/-]|\.(?=[\w~+/-])){15,}+={0,2})"
ASSIGNED = r"""["'\\]{0,6}\s{0,3}(?:[=:]>?|\bis\s)\s{0,3}["'\\]{0,6}"""
PASSWORDS = "password passwd pwd secret"
URL_KEYS = (
    "token sig signature apikey api[_-]key accesskey access[_-]key authkey auth[_-]key app[_-]key "
    "subscription[_-]key [?&]key"
)
IN_URL = r"[^\s&?;#\"'<>\\{}$]"
PEM = r"(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
VERSION = r"(?i:\b(?:v|version|release|build|section|chapter|firmware|rev))\Z"
ORDER = (
    r"(?i:\b(?:order|invoice|ticket|ref|reference|case|sku|isbn|part|tracking|po|booking|version)"
    r"(?:\W{1,3}(?:no|nr|number|id))?)\Z"
)
Form = tuple[str, str, str, Callable[[str], Reading], str]
# Kind, form, texts of which every value has one (a digit of them is any digit, ␣ a space), what
# reads it, and the words that it is no value after.
FORMS: tuple[Form, ...] = (
    *(
        ("KEY", form, marks, read_whole, "")
        for form, marks in (
            (
                rf"-----BEGIN {PEM}(?:(?:[\w+/=\s:,.]|-(?!-))*+-----END {PEM}"
                r"|(?:\s*+[\w+/=]{16,}+)++)",
                "PRIVATE",
            ),
            (
                rf"eyJ(?<!{WIDE}eyJ){WIDE}{{10,}}+\.{WIDE}{{10,}}+\.{WIDE}*+(?:\.{WIDE}++){{0,2}}",
                "eyJ",
            ),
            (rf"SG\.(?<!{WIDE}SG\.){WIDE}{{16,}}+\.{WIDE}{{16,}}+", "SG."),
            (rf"(?:ya29|hvs)\.(?=[A-Za-z_-]*+[0-9]){WIDE}{{20,}}+", "ya29. hvs."),
            (rf"(?:AC|SK)(?<!{WIDE}..)[0-9a-f]{{32}}(?!{WIDE})", "AC SK"),
            (rf"[0-9a-f]{NO_WORD}[0-9a-f]{{31}}-us[0-9]{{1,2}}(?!{WIDE})", "-us0"),
            (rf"[A-Z]{NO_WORD}{WIDE}{{22,27}}\.{WIDE}{{6}}\.{WIDE}{{27,}}+", "."),
            (rf"[0-9](?<![0-9].)[0-9]{{7,9}}+:{WIDE}{{35}}(?!{WIDE})", "00000000:"),
            (r"[\w.~-](?<![\w.~-].)[\w.~-]{2}[0-9]Q~[\w.~-]{31,34}", "0Q~"),
            (rf"{ALNUM}(?<!{ALNUM}.){ALNUM}{{51}}JQQJ99{ALNUM}{{20,}}+", "JQQJ99"),
            (r"/services/{1,2}(?P<value>T\w{6,12}/{1,2}B\w{6,12}/{1,2}\w{16,32})", "/services/"),
            (rf"/webhooks/{{1,2}}(?P<value>[0-9]{{15,21}}/{{1,2}}{WIDE}{{40,}}+)", "/webhooks/"),
            (rf"(?:{_cases('bearer basic')}) {SECRET}", "earer EARER asic ASIC"),
            (r"://{1,3}[^\s/:@\"'<>]{0,64}+:(?P<value>[^\s/@\"'<>\\{}$]{3,128}+)@", "://"),
            (
                rf"[?&][\w.-]{{1,40}}+{_after(PASSWORDS)}=(?P<value>{IN_URL}{{4,}}+)",
                "=",
            ),
            (
                rf"[?&][\w.-]{{1,40}}+{_after(URL_KEYS)}=(?=[^\d\s&?;]{{0,64}}+\d)"
                rf"(?P<value>{IN_URL}{{8,}}+)",
                "=",
            ),
            (rf"{KEY_NAME}{ASSIGNED}{SECRET}", "ecret ECRET oken OKEN key Key KEY"),
            (
                rf"{PASSWORD}{ASSIGNED}(?=[A-Za-z]{{0,40}}[\d!@#$%^*])"
                r"(?P<value>[\w!@#$%^*+=~.-]{6,64}+)(?![\w(\[])",
                "ass ASS pwd PWD",
            ),
        )
    ),
    (
        "EMAIL",
        # The name before the @ is read back from it.
        r"@(?:[\w-]{1,63}+\.){1,8}(?!(?:png|jpe?g|gif|svg|webp|js|css)\b)[^\W\d_]{2,24}+(?![\w(])",
        "@",
        read_whole,
        "",
    ),
    (
        "IBAN",
        r"[A-Z](?<![\w.+].)[A-Z]\d\d(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?",
        "00",
        read_iban,
        "",
    ),
    (
        "CARD",
        rf"[0-9]{BEGIN}(?=\d{{3}})(?:\d{{3}}[ .-]\d{{4}}[ .-]\d{{4}}[ .-]\d{{1,7}}"
        rf"|\d{{3}}[ .-]\d{{6}}[ .-]\d{{4,5}}|\d{{12,18}}){END}",
        "0000␣0000 0000.0000 0000-0000 0000000000000",
        read_card,
        "",
    ),
    ("SSN", rf"[0-9]{BEGIN}\d\d-\d\d-\d{{4}}{END}", "000-00-0000", read_ssn, ORDER),
    (
        "SSN",
        rf"(?:{_cases('ssn')}|[Ss]ocial [Ss]ecurity)(?:\W{{1,3}}+(?:number|no|nr|num|is)\b){{0,3}}+"
        rf"\W{{1,4}}?(?P<value>\d{{3}}[ -]?\d\d[ -]?\d{{4}}){END}",
        "sn SN ecurity",
        read_ssn,
        "",
    ),
    ("IP", r"[0-9](?<![\w.:-].)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)", "0.0", read_ip_4, VERSION),
    (
        "IP",
        r"[0-9A-Fa-f:](?<![\w.:].)(?=[0-9A-Fa-f:.]{6})[0-9A-Fa-f]{0,3}+:[0-9A-Fa-f]{0,4}+:[0-9A-Fa-f:.]{0,40}+(?!\w)",
        ":",
        read_ip_6,
        "",
    ),
    ("PHONE", rf"\+(?<![\w.+].)\(?\d[\d ().-]{{6,20}}\d{END}", "+", read_phone_of(), ""),
    ("PHONE", rf"0(?<![\w.+].)0[1-9]\d? [\d ().-]{{6,18}}\d{END}", "00", read_phone_of(), ORDER),
    (
        "PHONE",
        rf"[(0-9]{BEGIN}(?=[\d. (-])(?:(?<=1)[-. ](?:\(\d{{3}}\)[ -]?|\d{{3}}[-. ])"
        rf"|(?<=\()\d{{3}}\)[ -]?|(?<=\d)\d\d[-. ])\d{{3}}[-. ]\d{{4}}{END}",
        "000␣0000 000.0000 000-0000",
        read_phone_of(1),
        ORDER,
    ),
    (
        "PHONE",
        rf"0{BEGIN}\d(?:(?:[ .-]\d\d){{4}}|\d{{1,3}} \d{{3,4}} \d{{3,4}}|\d{{1,3}}/\d{{5,8}}"
        rf"|(?<=01)[5-7]\d[ -]\d{{3,4}} ?\d{{3,5}}){END}",
        "00␣00 00.00 00-00 0/00",
        read_phone_of(33, 44, 49, 39, 61),
        ORDER,
    ),
    ("PHONE", rf"\((?<!\w.)\d\d\) ?9?\d{{4}}-\d{{4}}{END}", "0000-0000", read_phone_of(55), ""),
    (
        "PHONE",
        rf"{PHONE_NAME}\w{{0,16}}+(?i:\W{{1,3}}+(?:number|no|nr|num|is|at|me)\b){{0,4}}+"
        rf"\W{{1,6}}?(?P<value>\(?\d[\d ().-]{{5,16}}\d){END}",
        "hone HONE obil OBIL hats HATS tel Tel TEL fax Fax FAX ell ELL",
        read_phone_of(*NATIONAL),
        "",
    ),
)
SHAPE = str.maketrans("123456789", "0" * 9)


class Pattern(NamedTuple):
    """A form made ready; ``marks`` are cheaper to look for, ``group`` is that of the value."""

    kind: str
    form: re.Pattern[str]
    marks: tuple[str, ...]
    read: Callable[[str], Reading]
    unless: re.Pattern[str] | None
    group: int


def _list_patterns() -> Iterator[Pattern]:
    for body, tokens in TOKENS.items():
        digit = r"(?=[A-Za-z_-]*+[0-9])" if body == WIDE else ""
        for prefix, least in (each.split(":") for each in tokens.split()):
            form = rf"{prefix}(?<!{WIDE}{prefix}){digit}{body}{{{least},}}+"
            mark = max(re.split(r"\[.*?\]", prefix), key=len)
            yield Pattern("KEY", re.compile(form), (mark.translate(SHAPE),), read_whole, None, 0)
    for kind, form, marks, read, unless in FORMS:
        before, ready = re.compile(unless) if unless else None, re.compile(form, re.DOTALL)
        group = ready.groupindex.get("value", 0)
        texts = (mark.replace("␣", " ") for mark in marks.translate(SHAPE).split(" "))
        yield Pattern(kind, ready, tuple(texts), read, before, group)


PATTERNS = tuple(_list_patterns())
