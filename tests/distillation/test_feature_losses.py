"""Every loss between states: equal to a plain NumPy version, zero at identity, refusals, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.distillation.attention_losses import AttentionKL, AttentionMSE, RelationKL
from imbik.distillation.feature_losses import FeatureMoments, HiddenCosine, HiddenMSE, LogitsKL
from imbik.errors import UserError

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
LENGTHS = (5, 3)


def hidden(width, seed):
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed))


def attention(heads, seed):
    return torch.randn(2, heads, 5, 5, generator=torch.Generator().manual_seed(seed))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def tokens(x):
    """The real tokens of a state, (N, H)."""
    return np.concatenate([x[i, :n].numpy() for i, n in enumerate(LENGTHS)])


def np_hidden_mse(s, t, w):
    return np.mean((tokens(s) @ w - tokens(t)) ** 2)


def np_cosine(s, t):
    a, b = tokens(s), tokens(t)
    return np.mean(1 - (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))


def np_attention_mse(s, t, probabilities):
    total, count = 0.0, 0
    for i, n in enumerate(LENGTHS):
        a, b = s[i, :, :n, :n].numpy(), t[i, :, :n, :n].numpy()
        a, b = (softmax(a), softmax(b)) if probabilities else (a, b)
        heads = np.gcd(len(a), len(b))
        a, b = (x.reshape(heads, -1, n, n).mean(1) for x in (a, b))
        total, count = total + ((a - b) ** 2).mean(0).sum(), count + n * n
    return total / count


def np_attention_kl(s, t):
    total, count = 0.0, 0
    for i, n in enumerate(LENGTHS):
        a, b = softmax(s[i, :, :n, :n].numpy()), softmax(t[i, :, :n, :n].numpy())
        heads = np.gcd(len(a), len(b))
        a, b = (x.reshape(heads, -1, n, n).mean(1) for x in (a, b))
        total, count = total + (b * np.log(b / a)).sum(-1).mean(0).sum(), count + n
    return total / count


def np_relation(s, t, heads):
    total, count = 0.0, 0
    for i, n in enumerate(LENGTHS):
        each = []
        for x in (s, t):
            y = x[i, :n].numpy().reshape(n, heads, -1).transpose(1, 0, 2)
            each.append(softmax(y @ y.transpose(0, 2, 1) / np.sqrt(y.shape[-1])))
        a, b = each
        total, count = total + (b * np.log(b / a)).sum(-1).mean(0).sum(), count + n
    return total / count


def np_moments(s, t):
    a, b = tokens(s), tokens(t)
    return np.mean((a.mean(1) - b.mean(1)) ** 2 + np.abs(a.var(1) - b.var(1)))


def bound(loss, s, t, mask=MASK):
    loss.bind(s, t, mask)
    return float(loss(s, t, mask).detach())


def test_hidden_mse_with_a_projection():
    s, t = hidden(4, 0), hidden(6, 1)
    loss = HiddenMSE()
    loss.bind(s, t, MASK)
    with torch.no_grad():
        loss.projection.weight.normal_()
    assert float(loss(s, t, MASK).detach()) == pytest.approx(np_hidden_mse(s, t, loss.projection.weight.detach().numpy()), rel=1e-5)


def test_the_projection_starts_at_the_least_squares_fit():
    s, w = hidden(4, 0), torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    t = s @ w
    assert bound(HiddenMSE(), s, t) < 1e-3 * float(t.square().mean())
    assert list(HiddenMSE().parameters()) == [], "no projection before the widths are known"


def test_hidden_mse_of_normalized_states():
    s, t = hidden(6, 0), hidden(6, 1)
    a, b = ((x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) for x in (tokens(s), tokens(t)))
    assert bound(HiddenMSE(normalize=True), s, t) == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)


def test_cosine():
    s, t = hidden(6, 0), hidden(6, 1)
    assert bound(HiddenCosine(), s, t) == pytest.approx(np_cosine(s, t), rel=1e-5)


@pytest.mark.parametrize("heads", [(4, 4), (2, 4), (4, 6), (3, 2)])
@pytest.mark.parametrize("on", ["scores", "probabilities"])
def test_attention_mse(on, heads):
    s, t = attention(heads[0], 0), attention(heads[1], 1)
    assert bound(AttentionMSE(on), s, t) == pytest.approx(np_attention_mse(s, t, on == "probabilities"), rel=1e-5)


@pytest.mark.parametrize("heads", [(4, 4), (2, 4), (4, 6), (3, 2)])
def test_attention_kl(heads):
    s, t = attention(heads[0], 0), attention(heads[1], 1)
    assert bound(AttentionKL(), s, t) == pytest.approx(np_attention_kl(s, t), rel=1e-4)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relations(heads):
    s, t = hidden(8, 0), hidden(12, 1)
    assert bound(RelationKL(heads), s, t) == pytest.approx(np_relation(s, t, heads), rel=1e-4)


def test_moments():
    s, t = hidden(8, 0), hidden(12, 1)
    assert bound(FeatureMoments(), s, t) == pytest.approx(np_moments(s, t), rel=1e-5)


def test_logits():
    s, t = torch.randn(4, 3), torch.randn(4, 3)
    a, b = softmax(s.numpy() / 2), softmax(t.numpy() / 2)
    assert bound(LogitsKL(2.0), s, t, None) == pytest.approx(4 * (b * np.log(b / a)).sum(1).mean(), rel=1e-4)


ALL = [
    (HiddenMSE(), hidden(6, 0)),
    (HiddenMSE(normalize=True), hidden(6, 0)),
    (HiddenCosine(), hidden(6, 0)),
    (AttentionMSE(), attention(4, 0)),
    (AttentionMSE("probabilities"), attention(4, 0)),
    (AttentionKL(), attention(4, 0)),
    (RelationKL(2), hidden(6, 0)),
    (FeatureMoments(), hidden(6, 0)),
]


@pytest.mark.parametrize(("loss", "state"), ALL, ids=lambda x: type(x).__name__)
def test_zero_at_identity_and_blind_to_padding(loss, state):
    assert bound(loss, state, state) == pytest.approx(0.0, abs=1e-6)
    other = state.clone()
    if state.ndim == 3:
        other[1, 3:] = 50.0
    else:
        other[1, :, 3:] = other[1, :, :, 3:] = 50.0
    assert float(loss(other, state, MASK)) == pytest.approx(0.0, abs=1e-6), "padding must not count"


@pytest.mark.parametrize(("loss", "state"), ALL, ids=lambda x: type(x).__name__)
def test_gradients_are_finite_and_reach_every_real_token(loss, state):
    loss.bind(state, state, MASK)
    other = (state + torch.randn(state.shape, generator=torch.Generator().manual_seed(9))).requires_grad_()
    loss(other, state, MASK).backward()
    assert torch.isfinite(other.grad).all()
    real = other.grad[:, :3] if state.ndim == 3 else other.grad[:, :, :3, :3]
    assert (real.flatten(2).abs().sum(-1) > 0).all()


def test_images_are_matched_by_channels():
    s, t = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    loss = HiddenMSE(project=True)
    loss.bind(s, t)
    with torch.no_grad():
        loss.projection.weight.normal_()
    w = loss.projection.weight.detach().numpy()
    wanted = np.mean((np.einsum("bchw,cd->bdhw", s.numpy(), w) - t.numpy()) ** 2)
    assert float(loss(s, t).detach()) == pytest.approx(wanted, rel=1e-5)


def maps(channels: int, seed: int) -> torch.Tensor:
    return torch.randn(3, channels, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_on_feature_maps_it_is_what_no_linear_map_explains():
    """One less scikit-learn's R² of a ridge regression with an intercept, over all pixels, weighed by variance."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    s = maps(4, 0)
    t = 3 * torch.einsum("bchw,cd->bdhw", s, torch.randn(4, 6, generator=torch.Generator().manual_seed(2))) + maps(6, 1) + 5
    x, y = (state.movedim(1, -1).flatten(0, -2).double().numpy() for state in (s, t))
    ridge = Ridge(alpha=1e-2 * np.mean(np.sum((x - x.mean(0)) ** 2, axis=0))).fit(x, y)
    wanted = 1 - r2_score(y, ridge.predict(x), multioutput="variance_weighted")
    assert bound(HiddenMSE(), s, t, None) == pytest.approx(wanted, rel=1e-4)
    assert list(HiddenMSE().parameters()) == [] and 0 < wanted < 0.5


def test_on_feature_maps_neither_scale_nor_mixed_channels_matter():
    s, t = maps(4, 0), maps(6, 1)
    plain = bound(HiddenMSE(), s, t, None)
    turned = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3))).Q
    assert bound(HiddenMSE(), 7 * torch.einsum("bchw,cd->bdhw", s, turned), 100 * t + 2, None) == pytest.approx(plain, rel=1e-4)
    assert bound(HiddenMSE(), s, torch.full_like(t, 2.0), None) == pytest.approx(0.0, abs=1e-6), "nothing varies, nothing is asked"


def test_on_feature_maps_the_gradient_is_that_of_the_solved_map():
    """Central differences of NumPy's least squares, solved anew on both sides; the ridge moves it by a hundredth."""
    s, t = maps(3, 0).requires_grad_(), maps(5, 1)
    loss = HiddenMSE()
    loss.bind(s, t)
    loss(s, t).backward()

    def share(x: np.ndarray) -> float:
        x, y = (np.moveaxis(state, 1, -1).reshape(-1, state.shape[1]) for state in (x, t.double().numpy()))
        x, y = x - x.mean(0), y - y.mean(0)
        return float(np.sum((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y) ** 2) / np.sum(y**2))

    step = np.zeros(tuple(s.shape))
    step[1, 2, 3, 4] = 1e-4
    base = s.detach().double().numpy()
    wanted = (share(base + step) - share(base - step)) / 2e-4
    assert s.grad is not None and float(s.grad[1, 2, 3, 4]) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(
    ("loss", "student", "teacher", "message"),
    [
        (HiddenMSE(), torch.ones(2, 5, 4), torch.ones(2, 6, 4), "cannot compare"),
        (HiddenMSE(project=False), torch.ones(2, 5, 4), torch.ones(2, 5, 6), "cannot compare"),
        (HiddenCosine(), torch.ones(2, 3, 4, 4), torch.ones(2, 3, 8, 8), "cannot compare"),
        (AttentionMSE(), torch.ones(2, 5, 4), torch.ones(2, 5, 4), "cannot compare"),
        (AttentionKL(), torch.ones(2, 2, 5, 5), torch.ones(2, 2, 6, 6), "cannot compare"),
        (RelationKL(5), torch.ones(2, 5, 8), torch.ones(2, 5, 12), "do not divide"),
        (RelationKL(), torch.ones(2, 5, 8), torch.ones(2, 6, 8), "cannot compare"),
        (FeatureMoments(), torch.ones(2, 5, 4), torch.ones(2, 6, 4), "cannot compare"),
        (LogitsKL(), torch.ones(2, 5), torch.ones(2, 6), "cannot compare"),
    ],
)
def test_shapes_that_cannot_be_matched_are_refused(loss, student, teacher, message):
    with pytest.raises(UserError, match=message):
        loss.bind(student, teacher)


@pytest.mark.parametrize(("widths", "heads"), [((384, 384), 48), ((192, 384), 24), ((256, 384), 32), ((312, 384), 24), ((312, 768), 24)])
def test_auto_relation_heads(widths, heads):
    loss = RelationKL()
    loss.bind(torch.zeros(1, 2, widths[0]), torch.zeros(1, 2, widths[1]))
    assert loss.heads == heads


@pytest.mark.parametrize(("heads", "width"), [(2, 16), (1, 12)])
def test_auto_relation_heads_of_narrow_states(heads, width):
    """A relation head has eight numbers or more; one head is always possible."""
    loss = RelationKL()
    loss.bind(torch.zeros(1, 2, width), torch.zeros(1, 2, width))
    assert loss.heads == heads
    narrow = RelationKL()
    narrow.bind(torch.zeros(1, 2, 4), torch.zeros(1, 2, 6))
    assert narrow.heads == 1


def test_a_projection_is_learned_where_it_is_asked_for_and_widths_are_equal():
    """None: only where the widths differ; True: always; False: never."""
    s, t = hidden(6, 0), hidden(6, 1)
    made = {project: HiddenMSE(project=project) for project in (None, False, True)}
    for loss in made.values():
        loss.bind(s, t, MASK)
    shapes = {project: [tuple(p.shape) for p in loss.parameters()] for project, loss in made.items()}
    assert shapes == {None: [], False: [], True: [(6, 6)]}


@pytest.mark.parametrize("masked", [True, False])
def test_the_projection_is_the_ridge_regression_of_the_real_tokens(masked):
    """scikit-learn's Ridge with a hundredth of the features' mean square, padding left out."""
    from sklearn.linear_model import Ridge

    s, t = hidden(4, 0), hidden(6, 1)
    loss = HiddenMSE()
    loss.bind(s, t, MASK if masked else None)
    x, y = (tokens(state).astype(np.float64) if masked else state.reshape(-1, state.shape[-1]).double().numpy() for state in (s, t))
    ridge = Ridge(alpha=1e-2 * np.mean(np.sum(x**2, axis=0)), fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(loss.projection.weight.detach().numpy(), ridge.coef_.T, rtol=1e-4, atol=1e-5)


def test_vectors_without_tokens_are_states_too():
    s, t = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert bound(HiddenMSE(), s, t, None) == pytest.approx(float(np.mean((s.numpy() - t.numpy()) ** 2)), rel=1e-5)


def test_moments_are_weighed():
    s, t = hidden(8, 0), hidden(12, 1)
    a, b = tokens(s), tokens(t)
    expected = np.mean(3.0 * (a.mean(1) - b.mean(1)) ** 2 + 0.5 * np.abs(a.var(1) - b.var(1)))
    assert bound(FeatureMoments(mean=3.0, variance=0.5), s, t) == pytest.approx(expected, rel=1e-5)


def test_settings_of_losses_without_sense_are_refused_and_soft_ones_are_taken():
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="temperature is not above 0"):
            LogitsKL(value)
    assert LogitsKL(0.5).temperature == 0.5 and LogitsKL().temperature == 2.0
    with pytest.raises(UserError, match="on scores or on probabilities"):
        AttentionMSE("logits")


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5), None), ((2, 5, 4, 3), None), ((2, 5, 3), 1), ((2, 4, 5, 3), 2)])
def test_logits_of_tokens_grids_and_boxes_are_those_of_their_rows(shape, axis):
    generator = np.random.default_rng(0)
    s, t = (generator.standard_normal(shape).astype(np.float32) for _ in range(2))
    classes = shape.index(5)
    a, b = (softmax(np.moveaxis(x, classes, -1).reshape(-1, 5) / 3.0) for x in (s, t))
    loss = LogitsKL(3.0, axis)
    loss.bind(torch.tensor(s), torch.tensor(t))
    assert float(loss(torch.tensor(s), torch.tensor(t))) == pytest.approx(9 * (b * np.log(b / a)).sum(1).mean(), rel=1e-4)


def test_padding_is_not_classified():
    s, t = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    real = mask.bool()
    torch.testing.assert_close(LogitsKL()(s, t, mask), LogitsKL()(s[real], t[real]))
    with pytest.raises(UserError, match="cannot compare"):
        LogitsKL(axis=3).bind(s, t)
