import torch

from scorelift.priors.text import END, MAX_TOKENS, PAD, TextEncoder, Tokenizer

CAPTIONS = ["a red mushroom", "a red duck", "two red ducks", "a mug"] * 5


def spell(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.pieces[i - 2] for i in tokenizer.encode(text)[:-1]]


def test_pieces_are_sub_words():
    tokenizer = Tokenizer.learn(CAPTIONS, 40)
    assert spell(tokenizer, "a red duck") == ["_a", "_red", "_duck"]
    assert spell(tokenizer, "mugs") == ["_mug", "s"]  # never seen, still spelled
    assert tokenizer.encode("red")[-1] == END


def test_learning_is_reproducible():
    assert Tokenizer.learn(CAPTIONS, 40).pieces == Tokenizer.learn(CAPTIONS, 40).pieces


def test_long_prompts_are_cut_and_batches_padded():
    tokenizer = Tokenizer.learn(CAPTIONS, 40)
    assert len(tokenizer.encode("red " * 100)) == MAX_TOKENS
    ids = tokenizer.batch(["a red duck", ""])
    assert ids.tolist()[1] == [END, PAD, PAD, PAD]


def test_padding_does_not_change_features():
    tokenizer = Tokenizer.learn(CAPTIONS, 40)
    encoder = TextEncoder(len(tokenizer), 32, 2, 2).eval()
    alone, pooled_alone, _ = encoder(tokenizer.batch(["a mug"]))
    both, pooled_both, padding = encoder(tokenizer.batch(["a mug", "two red ducks a mug"]))
    torch.testing.assert_close(both[:1, : alone.shape[1]], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pooled_both[:1], pooled_alone, atol=1e-5, rtol=1e-4)
    assert padding[0].sum() == both.shape[1] - alone.shape[1]
