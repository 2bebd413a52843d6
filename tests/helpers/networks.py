"""Small networks of every kind that any module may be: an MLP, CNNs, recurrent ones, a Vision Transformer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def mlp() -> nn.Module:
    """(B, 64) -> (B, 10)."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


class Block(nn.Module):
    """Two convolutions with batch norms beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.short = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


class ResNet(nn.Module):
    """(B, 3, 32, 32) -> (B, 10): batch norm, residual sums, a pooled head."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.a = nn.Sequential(Block(width, width), Block(width, width), Block(width, width))
        self.b = nn.Sequential(Block(width, 2 * width, 2), Block(2 * width, 2 * width), Block(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.b(self.a(self.stem(x)))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Mobile(nn.Module):
    """(B, 3, 32, 32) -> (B, 10): depthwise kernels, squeeze and excitation, a concatenation, a view."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.bn = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, 2 * width, 1)
        squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * width, 8, 1), nn.ReLU())
        self.excite = nn.Sequential(*squeeze, nn.Conv2d(8, 2 * width, 1), nn.Sigmoid())
        self.other = nn.Conv2d(width, 24, 1)
        self.fc = nn.Linear((2 * width + 24) * 16, 10)

    def forward(self, x):
        x = torch.relu(self.bn(self.depthwise(F.relu6(self.stem(x)))))
        y = self.pointwise(x)
        y = y * self.excite(y)
        z = F.max_pool2d(torch.cat([y, self.other(x)], 1), 4)
        return self.fc(z.view(z.size(0), -1))


class Text(nn.Module):
    """(B, T) token ids -> (B, 5): an embedding, two recurrent layers in both directions, a mean over time."""

    def __init__(self, kind=nn.LSTM, vocabulary: int = 500, width: int = 32, units: int = 24) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.rnn = kind(width, units, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * units, 5)

    def forward(self, ids):
        states, _ = self.rnn(self.table(ids))
        return self.head(states.mean(dim=1))


class Attention(nn.Module):
    """(B, T, d) -> (B, T, d)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class Layer(nn.Module):
    """A Transformer layer with its norms before its parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """(B, 3, 32, 32) -> (B, 10) (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int = 32, heads: int = 4, layers: int = 3, patch: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, (32 // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def network(name: str, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """A network by name, with statistics that are not those of a new one, and an example of two rows."""
    torch.manual_seed(seed)
    made = {"mlp": mlp, "cnn": ResNet, "mobile": Mobile, "lstm": Text, "gru": lambda: Text(nn.GRU), "vit": ViT}[name]()
    shapes = {"mlp": (2, 64), "lstm": (2, 7), "gru": (2, 7)}
    example = torch.randint(0, 500, (2, 7)) if name in ("lstm", "gru") else torch.randn(shapes.get(name, (2, 3, 32, 32)))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made.eval(), example


NAMES = ("mlp", "cnn", "mobile", "lstm", "gru", "vit")
