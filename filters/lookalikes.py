"""Letters of other scripts that look like a Latin one, as it is after case folding and NFKC.

Derived from Unicode's list of confusable characters (UTS 39, confusables.txt) as confusable_homoglyphs 3.3.1 holds it:
what one Latin letter is drawn like, in either case. Small capitals and letters with a stroke are added; of those that
look like two letters, or like another one as a capital, there are two readings.
"""

_LATIN = {
    "a": "\u0251\u03b1\u0430\u13aa\u15c5\u1d00\ua4ee\U000102a0\U00016f40",
    "b": ("\u0180\u0185\u0299\u03b2\u0432\u13cf\u13f4\u1472\u15af\u15f7\ua4d0\ua7b5\U00010282\U000102a1\U00010301"),
    "c": "\u0441\u13df\u1d04\u2ca5\ua4da\U000102a2\U00010302\U0001043d\U0001051c\U000118e9\U000118f2",
    "d": "\u0111\u0501\u13a0\u13e7\u146f\u15de\u15ea\u1d05\ua4d2\ua4d3",
    "e": "\u01dd\u0259\u03b5\u0435\u04bd\u13ac\u1d07\u2d39\ua4f0\uab32\U00010286\U000118c6\U000118ce",
    "f": "\u03dd\u0584\u15b4\u1e9d\ua4dd\ua799\uab35\U00010287\U000102a5\U00010525\U000118c2",
    "g": "\u018d\u0261\u0262\u050d\u0581\u13c0\u13f3\u1d83\ua4d6",
    "h": "\u0127\u029c\u03b7\u043d\u04bb\u0570\u13bb\u13c2\u157c\u2c8f\ua4e7\U000102cf",
    "i": "\u0131\u0268\u0269\u026a\u03b9\u0456\u13a5\ua647\U000118c3",
    "j": "\u029d\u03f3\u0458\u13ab\u148d\u1d0a\ua4d9",
    "k": "\u03ba\u043a\u13e6\u16d5\u1d0b\u2c95\ua4d7\U00010518",
    "l": (
        "\u0142\u029f\u04cf\u06f1\u13de\u14aa\u16c1\u2c93\u2cd1\u2d4f\ua4e1\ua4f2\U0001028a\U00010309"
        "\U00010320\U00010443\U00010526\U000118d2\U00016f16\U00016f28"
    ),
    "m": "\u03bc\u03fb\u043c\u13b7\u15f0\u16d6\u1d0d\u2c99\ua4df\U000102b0\U00010311",
    "n": "\u0274\u0578\u057c\u2c9b\ua4e0\U00010513",
    "o": (
        "\xf8\u03bf\u03c3\u043e\u0585\u06f5\u0966\u09e6\u0a66\u0ae6\u0b20\u0b66\u0be6\u0c66\u0ce6\u0d20\u0d66"
        "\u0e50\u0ed0\u101d\u1040\u10ff\u12d0\u1d0f\u1d11\u2c9f\u2d54\u3007\ua4f3\uab3d\U00010292\U000102ab"
        "\U0001042c\U000104ea\U00010516\U000114d0\U000118c8\U000118d5\U000118d7\U000118e0"
    ),
    "p": "\u03c1\u0440\u13e2\u146d\u1d18\u2ca3\ua4d1\U00010295",
    "q": "\u01eb\u051b\u0563\u0566\u2d55",
    "r": "\u0280\u0433\u13a1\u13b1\u13d2\u1587\u1d26\u2c85\ua4e3\uab47\uab48\U000104dc\U00016f35",
    "s": "\u01bd\u0455\u057f\u13d5\u13da\ua4e2\ua731\U00010296\U00010448\U000118c1\U00016f3a",
    "t": "\u0167\u03c4\u0442\u13a2\u1d1b\u2ca7\ua4d4\U00010297\U000102b1\U00010315\U000118dc\U00016f0a",
    "u": "\u0289\u028b\u03c5\u057d\u1200\u144c\u1d1c\ua4f4\ua79f\uab4e\uab52\U000104f6\U000118d8\U00016f42",
    "v": "\u03bd\u0475\u06f7\u13d9\u142f\u1d20\u2d38\ua4e6\ua6df\U0001051d\U00011706\U000118c0\U00016f08",
    "w": "\u026f\u0461\u051d\u0561\u13b3\u13d4\u1d21\ua4ea\U0001170a\U0001170e\U0001170f\U000118e6\U000118ef",
    "x": (
        "\u03c7\u0445\u1541\u157d\u16b7\u2cad\u2d5d\ua4eb\uab53\U00010290\U000102b4\U00010317\U00010322"
        "\U00010527\U000118ec"
    ),
    "y": (
        "\u0263\u028f\u03b3\u0443\u04af\u10e7\u13a9\u13bd\u1d8c\u1eff\u2ca9\ua4ec\uab5a\U000102b2\U000118c4\U00016f43"
    ),
    "z": "\u03b6\u13c3\u1d22\ua4dc\U000102f5\U000118c9\U000118e5",
}
LOOKALIKES: dict[int, str] = {ord(other): letter for letter, others in _LATIN.items() for other in others}
LOOKALIKES |= {0x3BD: "v", 0x3C5: "u", 0x3B7: "n", 0x3C3: "o", 0xA730: "f", 0xE6: "ae", 0x153: "oe"}
# Letters in black circles and squares, and those of flags, which no normalisation knows.
LOOKALIKES |= {first + number: chr(ord("a") + number) for first in (0x1F150, 0x1F170, 0x1F1E6) for number in range(26)}
# What looks like an l looks like a capital I, too. As capitals, Greek nu, upsilon, eta and sigma look like N, Y, H, E.
_CAPITALS = {ord(other): "i" for other in _LATIN["l"] if other not in "\u0142\u029f"}
_CAPITALS |= {0x3BD: "n", 0x3C5: "y", 0x3B7: "h", 0x3C3: "e"}
READINGS = (LOOKALIKES, LOOKALIKES | _CAPITALS)
