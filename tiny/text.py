"""The tiny umT5: it is not trained. Every word of the captions is a token and has a random direction of its own.

Wan's experts look at tokens without knowing their order, so two layers add to each token what stands near it, a
head for each distance: without that, "the red disc grows, the blue square shrinks" is what its opposite is, too.
"""

import io
import string

import torch
from comfy.sd import CLIP
from torch import Tensor

from .scenes import KINDS, random_scene

WIDTH, HEAD, FEED = 4096, 8, 4  # umT5-XXL's width, which the experts take; what a head carries; the feed-forward part
# What each head of each block looks at: the token before, the next; the four before, the next four. Buckets of
# distances as in T5.
LOOKS = (({1}, {17}), ({1, 2, 3, 4}, {17, 18, 19, 20}))
STRENGTH = 8.0
NEAR = 0.5  # how strongly, against the token's own direction
STYLE_WORDS = {"striped": "zebra paint", "dotted": "target paint"}  # of the style LoRAs, by key of `drawing.STYLES`


def vocabulary() -> list[str]:
    """Returns all words that captions have, and those of the styles."""
    captions = [random_scene(seed, kind=kind).caption for kind in KINDS for seed in range(60)]
    return sorted({word for text in (*captions, *STYLE_WORDS.values()) for word in text.replace(",", " ,").split()})


def tokenizer(words: list[str]) -> bytes:
    """Returns a SentencePiece model in which each word is one token; others are letters."""
    import sentencepiece

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*words, *string.ascii_lowercase]), model_writer=file, vocab_size=200,
        model_type="char", hard_vocab_limit=False, num_threads=1, minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        user_defined_symbols=[f"\u2581{word}" for word in words if word.isalpha()],  # with the space before it
    )  # fmt: skip
    return file.getvalue()


def text_state(seed: int) -> dict[str, Tensor]:
    """Returns what the text encoder's file holds, its tokenizer included."""
    import sentencepiece

    model = tokenizer(vocabulary())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=random)

    state = {
        "shared.weight": drawn(pieces, WIDTH, scale=1.0),
        "encoder.final_layer_norm.weight": torch.ones(WIDTH),
    }
    for block, looks in enumerate(LOOKS):
        inner, near = HEAD * len(looks), torch.zeros(32, len(looks))
        for head, buckets in enumerate(looks):
            near[sorted(buckets), head] = STRENGTH
        attention, feed = f"encoder.block.{block}.layer.0", f"encoder.block.{block}.layer.1"
        state |= {
            f"{attention}.SelfAttention.q.weight": torch.zeros(inner, WIDTH),  # it looks by distance alone
            f"{attention}.SelfAttention.k.weight": torch.zeros(inner, WIDTH),
            f"{attention}.SelfAttention.v.weight": drawn(inner, WIDTH, scale=WIDTH**-0.5),
            f"{attention}.SelfAttention.o.weight": drawn(WIDTH, inner, scale=NEAR * inner**-0.5),
            f"{attention}.SelfAttention.relative_attention_bias.weight": near,
            f"{attention}.layer_norm.weight": torch.ones(WIDTH),
            f"{feed}.DenseReluDense.wi_0.weight": torch.zeros(FEED, WIDTH),
            f"{feed}.DenseReluDense.wi_1.weight": torch.zeros(FEED, WIDTH),
            f"{feed}.DenseReluDense.wo.weight": torch.zeros(WIDTH, FEED),
            f"{feed}.layer_norm.weight": torch.ones(WIDTH),
        }
    state = {name: value.to(torch.bfloat16) for name, value in state.items()}
    state["spiece_model"] = torch.frombuffer(bytearray(model), dtype=torch.uint8)
    return state


def context_of(clip: CLIP, caption: str) -> Tensor:
    """Returns the features of a caption's tokens, float32[tokens, 4096]: those of padding, all zero, are left out."""
    encoded = clip.encode_from_tokens(clip.tokenize(caption))
    assert isinstance(encoded, Tensor)
    used = int((encoded[0].abs().amax(-1) > 0).sum())
    return encoded[0, :used].float()
