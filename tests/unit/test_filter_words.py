"""The list of words: what is written otherwise is found, and what only looks alike is not."""

# ruff: noqa: RUF001  # letters that look like others are what this is about

import pytest
from pack.filters.question import NoAnswerError, Question
from pack.filters.settings import WORDS, Settings
from pack.filters.words import find, judge, parse
from pack.weights.loras import triggers

LIST = """\
# Made-up words, and three that lie within many others.
forbiddenite
forbidden ore
glowth*
*quartzite
/zorp[a-z]+ite/
cat
rat
tin
[es]
ano
[de]
schön
[ru]
запретит
[zh]
违禁石
[ko]
금지석*
"""

WAYS = {
    "as it is": "a forbiddenite stone",
    "upper case": "A FORBIDDENITE STONE",
    "full width": "ｆｏｒｂｉｄｄｅｎｉｔｅ",
    "mathematical letters": "𝒇𝒐𝒓𝒃𝒊𝒅𝒅𝒆𝒏𝒊𝒕𝒆",
    "letters in circles": "ⓕⓞⓡⓑⓘⓓⓓⓔⓝⓘⓣⓔ",
    "letters in black squares": "🅵🅾🆁🅱🅸🅳🅳🅴🅽🅸🆃🅴",
    "letters of flags": "🇫🇴🇷🇧🇮🇩🇩🇪🇳🇮🇹🇪",
    "small capitals": "ꜰᴏʀʙɪᴅᴅᴇɴɪᴛᴇ",
    "Cyrillic letters": "f\u043erb\u0456dd\u0435nit\u0435",
    "Greek letters": "f\u03bfrb\u03b9dd\u03b5nite",
    "Greek capitals": "FORBIDDE\u039d\u0399\u03a4\u0395",
    "Cherokee and Lisu letters": "\ua4dd\ua4f3\ua4e3\ua4d0\ua4f2\ua4d3\ua4d3\ua4f0\ua4e0\ua4f2\ua4d4\ua4f0",
    "zero-width space": "for\u200bbidden\u200bite",
    "zero-width joiner": "forb\u200didden\u2060ite",
    "soft hyphen": "forbid\u00addenite",
    "text direction": "forbid\u202edenite",
    "invisible Hangul": "forbid\u3164denite",
    "variation selector": "forbid\ufe0fdenite",
    "tags": "forbid\U000e0064denite",
    "dots": "f.o.r.b.i.d.d.e.n.i.t.e",
    "hyphen": "forbid-denite",
    "underscores": "my_forbid_denite_stone",
    "slashes and stars": "for/bid*den|ite",
    "emoji": "forbid🙂denite",
    "letter by letter": "f o r b i d d e n i t e",
    "letter by letter in lines": "f\no\nr\nb\ni\nd\nd\ne\nn\ni\nt\ne",
    "broken at the end of a line": "forbid-\n  denite",
    "accents": "fórbìddënïtê",
    "struck through": "f\u0336o\u0336r\u0336b\u0336i\u0336d\u0336d\u0336e\u0336nite",
    "marks of another script": "forbid\u0e48denite",
    "digits": "f0rb1dd3n1t3",
    "digits, with one behind it": "f0rbiddenite2",
    "signs": "forb!dden!te",
    "repeated letters": "forrrbiddeeenite",
    "an emphasis": "(forbid:1.3)denite",
    "an emphasis with an exponent": "(forbid:1e0)denite",
    "an emphasis with a sign": "((forbid:+1.0 )denite:.9)",
    "a sentence without a space": "It is forbiddenite!Now it glows.",
    "genitive": "forbiddenite\u2019s glow",
    "words in two lines": "forbidden\n\nore",
    "words joined": "ForbiddenOre",
    "a beginning": "glowthing",
    "an end": "zorpaquartzite",
    "a pattern": "Z.o.r.p-alite",
    "Cyrillic word, Latin letters": "z \u0437\u0430\u043fpe\u0442\u0438\u0442",
    "Chinese within a sentence": "这块违禁石头",
    "Chinese, parted": "违 禁·石",
    "Korean with a particle": "금지석을 보다",
    "German": "Sch\u00f6n",
    "German, in two characters": "scho\u0308n",
}

HARMLESS = [
    "forbidden",
    "An ore that is forbidden.",
    "a forbid denite",
    "forbiddenites",
    "preforbiddenite",
    "The category is a delicate location, concatenated.",
    "A pirate separates grateful narrators.",
    "Muscat, Ratisbon and Martinique in the rain",
    "a tiny continent, glistening in satin",
    "a cathedral, a ration and a tinge of blue",
    "tinted scatter, decorated bobcats",
    "Is this a bat in flight? It is.",
    "a piano, a volcano and an anorak",
    "el año nuevo, por la mañana",
    "schon am Morgen",
    "4K, h264, mp4, 24fps, f/1.8, 1280x720",
    "a 3d render of a 1st-class carriage, 100% sharp",
    "(masterpiece:1.2), [soft light], {dawn|dusk}",
    "a bird's-eye, mother-of-pearl, well-lit",
    "A. B. C. and a, b, c",
    "I a m here",
    "mail me at someone@example.com!",
    "一块普通的石头",
    "禁止石头",
    "普通の石が光る。",
    "금지된 돌",
    "запрети его",
    "Ένα λευκό νησί στη θάλασσα",
    "🙂🙂 smile, \u2764\ufe0f love",
    "a glow, the glowing moth",
    "sand, quartz and granite",
    "zorp and kite",
    "as a sash",
    "\u202a\u202c\u200b",
    "..., --- !!!",
]


@pytest.fixture(scope="module")
def sections():
    return parse(LIST)


@pytest.mark.parametrize("text", WAYS.values(), ids=list(WAYS))
def test_a_word_is_found_however_it_is_written(text, sections):
    assert "is on the list of words" in (find(text, sections) or "")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_passes(text, sections):
    assert find(text, sections) is None


def test_there_are_thirty_of_both():
    assert min(len(WAYS), len(HARMLESS)) >= 30


@pytest.mark.parametrize("metadata", ["modelspec.trigger_phrase", "ss_trigger_words", "ss_tag_frequency"])
def test_words_that_a_lora_names_itself_are_read_in_the_prompt(metadata, sections):
    told = {metadata: '{"set": {"forb-iddenite": 3}}' if "frequency" in metadata else "f\u043erbiddenite"}
    words = triggers.trigger_words(told, [])
    assert words
    assert find(triggers.merge("A stone glows.", words, "append"), sections)


@pytest.mark.parametrize(
    "written",
    [
        {"prompt": "forbiddenite"},
        {"negative_prompt": "blurry, forbiddenite"},
        {"trigger_words": ("glow", "forbiddenite")},
        {"loras": ("https://lora.example/some/forbiddenite-v2.safetensors",)},
    ],
    ids=lambda written: next(iter(written)),
)
def test_every_text_of_a_question_is_read(written, tmp_path):
    (tmp_path / "list").write_text("forbiddenite", encoding="utf-8")
    known = Settings({WORDS: str(tmp_path / "list")})
    assert judge(known, Question("prompt", "", **written)) == (
        "the text holds 'forbiddenite', which is on the list of words"
    )
    assert judge(known, Question("prompt", "", "A stone glows.", "blurry", ("glow",))) is True


@pytest.mark.parametrize(
    "text",
    [
        "i" * 100_000,
        pytest.param("f\u00b7" * 100_000, marks=pytest.mark.slow),
        pytest.param("f " * 100_000, marks=pytest.mark.slow),
        pytest.param("\u8fdd" * 100_000, marks=pytest.mark.slow),
        "a" + ("\u0301\u0316" * 14 + "\u200b") * 6_000,
        pytest.param("\u0e01" + ("\u0e38\u0e48" * 14 + "\u20dd") * 6_000, marks=pytest.mark.slow),
    ],
    ids=["letters", "parts", "words", "unspaced", "marks", "marks of another script"],
)
def test_a_long_row_of_the_same_takes_no_time_by_its_square(text):
    """Else this would take an hour, in which Python runs nothing else."""
    sections = parse("forbiddenite\n*ite\n\u8fdd\u7981\u77f3")
    assert find(text, sections) is None
    assert find(f"{text}\nforbiddenite", sections)


def test_the_reason_names_the_language_and_what_was_written(sections):
    assert find("Un a.n.o", sections) == "the text holds 'ano', which is on the list of words [es]"


def test_a_changed_list_counts_at_once(tmp_path):
    file = tmp_path / "list"
    known, asked = Settings({WORDS: str(file)}), Question("prompt", "", "a glowing stone")
    file.write_text("forbiddenite", encoding="utf-8")
    assert judge(known, asked) is True
    file.write_text("forbiddenite\nstone", encoding="utf-8")
    assert "'stone'" in str(judge(known, asked))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no entry"),
        (b"# only a note\n[en]\n", "holds no entry"),
        (b"/(/", "line 1 of the list is no pattern"),
        (b"glow\n...", "line 2 of the list holds no letter or digit"),
        (b"[english words]\nglow", "line 1 of the list is neither a language"),
        (b"x" * 201, "line 1 of the list is neither a language in brackets nor a short entry"),
        (b"\xff\xfe", "is not in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_understood_is_no_list(content, says, tmp_path):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(NoAnswerError, match=says):
        judge(Settings({WORDS: str(tmp_path / "list")}), Question("prompt", "", "glow"))


def test_a_missing_list_is_no_yes(tmp_path):
    with pytest.raises(NoAnswerError, match=r"cannot be read \(No such file"):
        judge(Settings({WORDS: str(tmp_path / "list")}), Question("prompt", "", "glow"))


def test_entries_share_their_beginnings():
    """Else each of thousands would be tried at each word of a text."""
    letters = "abcdefghij"
    sections = parse("\n".join(f"glow{one}{other}" for one in letters for other in letters))
    pattern = sections[0].words[0].pattern
    assert [pattern.count(letter) for letter in "lw"] == [2, 2]  # a letter, and the same again
    assert find("some glowing words without an end " * 100, sections) is None
    assert find("some glowing words " * 100 + "glowja", sections)


@pytest.mark.parametrize(
    "entry",
    ["forbiddenite  # a mineral", "forbiddenite #", "c # sharp", "forbidden ore ## a mineral", "[es] # Spanish",
     "/forbid[a-z]+/ # a mineral", "/forbid[a-z]+/ # see https://example.com/", "/forbid( #|d)enite/ # a mineral",
     "/forbid[a-z]+/# a mineral", "/forbiddenite/ #mineral", "/forbid[a-z]+", "/forbid[a-z]+/i",
     "/forbiddenite/i", "/forbiddenite/I", "/forbiddenite/gi", "/forbiddenite/ a mineral"],
)  # fmt: skip
def test_what_may_be_a_note_behind_an_entry_or_half_a_pattern_is_refused(entry):
    """Else nothing would be found, or too much, and nobody told."""
    with pytest.raises(NoAnswerError, match=r"line 2 of the list .* a note in a line of its own"):
        parse(f"# a note\n{entry}")


@pytest.mark.parametrize(
    ("entry", "found", "passes"),
    [("we are #1", "see, we are #1 here", "we are happy"), ("buy #forbidden", "Buy forbidden!", "i buy bread"),
     ("c#", "a c# minor", "a minor"), ("c# minor", "a c# minor", "a c# major"),
     ("/r/forbiddenite", "see /r/forbiddenite", "a forbiddenite"),
     ("/forbid( #|d)enite/", "a forbiddenite", "to forbid"), ("/forbid( # |d)enite/", "a forbiddenite", "to forbid")],
)  # fmt: skip
def test_a_sign_within_an_entry_begins_no_note(entry, found, passes):
    assert find(found, parse(f"#note\n{entry}"))
    assert find(passes, parse(entry)) is None
