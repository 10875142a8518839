"""Attention against a loop over heads, queries and tokens; and the decoder, step by step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from halfseen.nets.attention import Attention, Decoder, Memory
from halfseen.types import InputError

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masks_of(seed: int, *shape: int) -> Tensor:
    """Where queries may look; now and then one may look nowhere."""
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=random) < 0.4) & (torch.rand(shape[:2], generator=random) < 0.8)[..., None]


def attention(dim: int = 8, heads: int = 2, seed: int = 0) -> Attention:
    torch.manual_seed(seed)
    made = Attention(dim, heads)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return made


def decoder(count: int = 3, *, residual: bool = True, dim: int = 8) -> Decoder:
    torch.manual_seed(1)
    made = Decoder(dim, count, heads=2, residual=residual)
    nn.init.normal_(made.queries)
    return made


def line(layer: nn.Linear, vector: list[float]) -> list[float]:
    rows, shifts = layer.weight.tolist(), [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    return [math.fsum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(rows, shifts, strict=True)]


def by_loop(layer: Attention, queries: Tensor, tokens: Tensor, masks: Tensor) -> Tensor:
    """Head by head, query by query: the softmax of q·k/√d over the tokens in the mask, and their values by it."""
    answers = []
    for asks, told, rows in zip(queries.tolist(), tokens.tolist(), masks.tolist(), strict=True):
        keys, values = [line(layer.key, token) for token in told], [line(layer.value, token) for token in told]
        for ask, mask in zip(asks, rows, strict=True):
            whole, seen = line(layer.query, ask), []
            for head in range(layer.heads):
                size = len(whole) // layer.heads
                part = slice(head * size, (head + 1) * size)
                scores = [
                    math.fsum(q * k for q, k in zip(whole[part], key[part], strict=True)) / math.sqrt(size)
                    for key in keys
                ]
                shares = [math.exp(score) * inside for score, inside in zip(scores, mask, strict=True)]
                shares = shares if any(mask) else [1.0] * len(mask)
                seen += [
                    math.fsum(s * value[d] for s, value in zip(shares, values, strict=True)) / math.fsum(shares)
                    for d in range(part.start, part.stop)
                ]
            answers.append(line(layer.out, seen))
    return torch.tensor(answers).view_as(queries)


@given(SEEDS, st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=20)
def test_eq4_attention_equals_the_loop(seed: int, images: int, queries: int, tokens: int, heads: int) -> None:
    layer, ask, told = attention(8, heads), draw(seed, images, queries, 8), draw(seed + 1, images, tokens, 8)
    masks = masks_of(seed, images, queries, tokens)
    with torch.no_grad():
        got, free = layer(ask, layer.read(told), masks), layer(ask, layer.read(told))
    torch.testing.assert_close(got, by_loop(layer, ask, told, masks), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(free, by_loop(layer, ask, told, torch.ones_like(masks)), rtol=1e-4, atol=1e-5)


@given(SEEDS)
@settings(deadline=None, max_examples=20)
def test_T1_no_share_goes_outside_the_mask_and_shares_sum_to_1(seed: int) -> None:
    layer, ask, told = attention(), draw(seed, 3, 4, 8), draw(seed + 1, 3, 6, 8)
    masks = masks_of(seed, 3, 4, 6)
    with torch.no_grad():
        shares = layer.shares(ask, layer.read(told), masks)
    assert shares.shape == (3, 2, 4, 6)
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 2, 4))
    somewhere = masks.any(-1)
    for head in range(2):
        assert shares[:, head][~masks & somewhere[..., None]].eq(0).all()
        assert shares[:, head][masks].gt(0).all()
        torch.testing.assert_close(shares[:, head][~somewhere], torch.full((int((~somewhere).sum()), 6), 1 / 6))


def test_T1_a_query_that_may_look_nowhere_sees_the_mean_and_learns_finitely() -> None:
    layer, ask, told = attention(), draw(0, 1, 2, 8).requires_grad_(), draw(1, 1, 5, 8).requires_grad_()
    masks = torch.tensor([[[False] * 5, [True, False, False, True, False]]])
    memory = layer.read(told)
    seen = layer(ask, memory, masks)
    mean = memory.values.mean(2).flatten(1)
    torch.testing.assert_close(seen[:, 0], layer.out(mean))
    slopes = torch.autograd.grad(seen.square().sum(), [ask, told, *layer.parameters()])
    assert all(slope.isfinite().all() for slope in slopes)
    assert slopes[0][:, 0].eq(0).all()  # whatever it asks, it gets the mean
    assert slopes[0][:, 1].ne(0).any()
    assert slopes[1].ne(0).any()


def test_what_is_looked_at_is_what_shares_say() -> None:
    layer, ask, memory = attention(), draw(0, 2, 3, 8), attention().read(draw(1, 2, 6, 8))
    masks = masks_of(2, 2, 3, 6)
    for rows in (None, masks):
        seen = (layer.shares(ask, memory, rows) @ memory.values).transpose(1, 2).flatten(2)
        torch.testing.assert_close(layer(ask, memory, rows), layer.out(seen), rtol=1e-4, atol=1e-6)


def test_T2_masks_of_ones_are_no_masks_bit_for_bit() -> None:
    made, cls, patches = decoder(4), draw(0, 3, 8), draw(1, 3, 6, 8)
    asked, memory = made.ask(cls), made.read(patches)
    assert torch.equal(made.answer(asked, memory), made.answer(asked, memory, torch.ones(3, 4, 6, dtype=torch.bool)))


def test_T8_without_the_root_the_masked_pass_would_not_equal_the_free_one() -> None:
    made, patches = decoder(4), draw(1, 3, 6, 8)
    asked, memory = made.ask(draw(0, 3, 8)), made.read(patches)
    masks = torch.ones(3, 4, 6, dtype=torch.bool)
    longer = Memory(memory.keys * 4**0.5, memory.values)  # q·k as eq. 4 prints it, without 1/√4
    free = made.answer(asked, memory)
    assert torch.equal(made.answer(asked, memory, masks), free)
    assert not torch.allclose(made.answer(asked, longer, masks), free, rtol=1e-2)


def test_T6_permuting_queries_permutes_answers() -> None:
    made, cls, patches = decoder(4), draw(0, 2, 8), draw(1, 2, 6, 8)
    masks, order = masks_of(3, 2, 4, 6), [2, 0, 3, 1]
    before = made.answer(made.ask(cls), made.read(patches), masks)
    with torch.no_grad():
        made.queries.copy_(made.queries[order].clone())
    after = made.answer(made.ask(cls), made.read(patches), masks[:, order])
    torch.testing.assert_close(after, before[:, order], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after, before)


def test_T7_the_order_of_patches_does_not_matter() -> None:
    made, cls, patches = decoder(), draw(0, 2, 8), draw(1, 2, 6, 8)
    masks, order = masks_of(3, 2, 3, 6), [3, 5, 0, 1, 4, 2]
    asked = made.ask(cls)
    before, after = made.read(patches), made.read(patches[:, order])
    torch.testing.assert_close(made.answer(asked, after), made.answer(asked, before), rtol=1e-4, atol=1e-5)
    moved = made.answer(asked, after, masks[:, :, order])
    torch.testing.assert_close(moved, made.answer(asked, before, masks), rtol=1e-4, atol=1e-5)


def test_eq1_queries_hear_the_class_token_and_each_other() -> None:
    made, cls = decoder(3), draw(0, 2, 8)
    with torch.no_grad():
        asked = made.ask(cls)
        everyone = torch.cat([cls[:, None], made.queries.expand(2, -1, -1)], 1)
        heard = everyone + by_loop(made.talk, everyone, everyone, torch.ones(2, 4, 4))
    wanted = (heard - heard.mean(2, keepdim=True)) / (heard.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(asked, wanted[:, 1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(made.ask(cls + draw(2, 2, 8)), asked)
    others = made.ask(cls)
    with torch.no_grad():
        made.queries[2] += 1
    assert not torch.allclose(made.ask(cls)[:, 0], others[:, 0])


@pytest.mark.parametrize("residual", [True, False])
def test_eq3_what_was_seen_is_thought_about(residual: bool) -> None:
    made, patches = decoder(3, residual=residual), draw(1, 2, 6, 8)
    with torch.no_grad():
        asked, memory = made.ask(draw(0, 2, 8)), made.read(patches)
        seen = by_loop(made.look, asked, patches, torch.ones(2, 3, 6))  # no residual around this one
        normed = (seen - seen.mean(2, keepdim=True)) / (seen.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        first, last = made.think[1], made.think[3]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        assert (first.in_features, first.out_features, last.out_features) == (8, 32, 8)
        thought = (normed @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
        torch.testing.assert_close(made.answer(asked, memory), thought + seen * residual, rtol=1e-4, atol=1e-5)


def test_every_parameter_of_the_decoder_learns() -> None:
    made = decoder(3)
    loss = made.answer(made.ask(draw(0, 2, 8)), made.read(draw(1, 2, 6, 8))).pow(3).sum()
    slopes = torch.autograd.grad(loss, list(made.parameters()))
    assert [name for (name, _), slope in zip(made.named_parameters(), slopes, strict=True) if not slope.any()] == []


def test_new_queries_are_short_and_differ() -> None:
    torch.manual_seed(0)
    queries = Decoder(64, 8).queries.detach()
    assert queries.std().item() == pytest.approx(64**-0.5, rel=0.15)
    assert torch.pdist(queries).min() > 0.5


def test_new_projections_keep_what_they_are_given_as_long_as_it_is() -> None:
    """Shorter queries and keys would make all scores alike, and all queries with them."""
    torch.manual_seed(0)
    made, tokens = Attention(128, 8), draw(0, 1, 400, 128)
    with torch.no_grad():
        for layer in (made.query, made.key, made.value, made.out):
            assert layer(tokens).std().item() == pytest.approx(1, abs=0.05)
            assert layer(torch.zeros(128)).eq(0).all()


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(
        InputError, match="10 features cannot be split among 8 heads; choose a backbone with a multiple"
    ):
        Attention(10, 8)
