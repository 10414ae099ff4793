"""Networks as people bring them, in plain torch: time series, audio, small vision, embeddings.

NETS: name -> (module, shape of a sample). Widths follow published small networks of each kind.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, body, short=None):
        super().__init__()
        self.body, self.short = body, short or nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def conv_norm(i, o, k, stride=1, groups=1, d=2):
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if d == 2 else (nn.Conv1d, nn.BatchNorm1d)
    pad = tuple(n // 2 for n in k) if isinstance(k, tuple) else k // 2
    return nn.Sequential(conv(i, o, k, stride, pad, groups=groups, bias=False), norm(o), nn.ReLU())


def ds_cnn():
    """Zhang et al. 2017: depthwise separable convolutions on a spectrogram."""
    parts = [conv_norm(1, 64, (10, 4), (2, 2))]
    for _ in range(4):
        parts += [conv_norm(64, 64, 3, groups=64), conv_norm(64, 64, 1)]
    return nn.Sequential(*parts, nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12))


def yamnet_like(width=8):
    parts, i = [conv_norm(1, 4 * width, 3, 2)], 4 * width
    for o, s in ((8, 1), (16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1)):
        parts += [conv_norm(i, i, 3, s, i), conv_norm(i, o * width, 1)]
        i = o * width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, 21), nn.Sigmoid())


class BcResnetBlock(nn.Module):
    """Kim et al. 2021: a frequency branch whose mean over frequency is spread again."""

    def __init__(self, c=8):
        super().__init__()
        self.stem = nn.Conv2d(1, c, 5, (2, 1), 2)
        self.frequency = nn.Sequential(nn.Conv2d(c, c, (3, 1), padding=(1, 0), groups=c), nn.BatchNorm2d(c))
        self.time = nn.Sequential(
            nn.Conv2d(c, c, (1, 3), padding=(0, 1), groups=c), nn.BatchNorm2d(c), nn.SiLU(), nn.Conv2d(c, c, 1)
        )
        self.head = nn.Linear(c, 12)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = self.frequency(x)
        z = self.time(y.mean(2, keepdim=True))
        return self.head(F.relu(x + y + z).mean((2, 3)))


class ConvAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 3, 2, 1), nn.LeakyReLU(0.2)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(16, 1, 2, 2),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Crnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(conv_norm(1, 16, 3), nn.MaxPool2d(2), conv_norm(16, 32, 3), nn.MaxPool2d(2))
        self.gru = nn.GRU(32 * 10, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.convs(x)  # [B, C, F, T]
        y, _ = self.gru(x.permute(0, 3, 1, 2).flatten(2))
        return self.head(y.mean(1))


class EegNet(nn.Module):
    """Lawhern et al. 2018."""

    def __init__(self):
        super().__init__()
        self.temporal = nn.Sequential(nn.Conv2d(1, 8, (1, 16), bias=False), nn.BatchNorm2d(8))
        self.spatial = nn.Sequential(
            nn.Conv2d(8, 16, (6, 1), groups=8, bias=False), nn.BatchNorm2d(16), nn.ELU(), nn.AvgPool2d((1, 4))
        )
        self.separable = nn.Sequential(
            nn.Conv2d(16, 16, (1, 8), groups=16, bias=False), nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16),
            nn.ELU(), nn.AvgPool2d((1, 2)),
        )  # fmt: skip
        self.head = nn.Linear(16 * 8, 4)

    def forward(self, x):
        x = self.spatial(self.temporal(F.pad(x, (7, 8))))
        return self.head(self.separable(F.pad(x, (3, 4))).flatten(1))


class Recurrent(nn.Module):
    def __init__(self, kind, layers=1, last=False):
        super().__init__()
        self.rnn = kind(6, 32, layers, batch_first=True)
        self.head, self.last = nn.Linear(32, 5), last

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.head(y[:, -1] if self.last else y.mean(1))


class Inception(nn.Module):
    def __init__(self, i, c=16):
        super().__init__()
        self.bottleneck = nn.Conv1d(i, c, 1, bias=False) if i > 1 else nn.Identity()
        self.convs = nn.ModuleList(nn.Conv1d(c if i > 1 else 1, c, k, padding="same", bias=False) for k in (39, 19, 9))
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(i, c, 1, bias=False))
        self.norm = nn.BatchNorm1d(4 * c)

    def forward(self, x):
        y = self.bottleneck(x)
        return F.relu(self.norm(torch.cat([*(conv(y) for conv in self.convs), self.pooled(x)], 1)))


class InceptionTime(nn.Module):
    """Ismail Fawaz et al. 2020."""

    def __init__(self, i=3, c=16, classes=6):
        super().__init__()
        self.blocks = nn.ModuleList(Inception(i if b == 0 else 4 * c, c) for b in range(6))
        self.shorts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(n, 4 * c, 1, bias=False), nn.BatchNorm1d(4 * c)) for n in (i, 4 * c)
        )
        self.head = nn.Linear(4 * c, classes)

    def forward(self, x):
        kept = x
        for b, block in enumerate(self.blocks):
            x = block(x)
            if b % 3 == 2:
                x = kept = F.relu(x + self.shorts[b // 3](kept))
        return self.head(x.mean(-1))


class Kwt(nn.Module):
    """Berg et al. 2021: a transformer on the frames of a spectrogram."""

    def __init__(self, frames=20, features=16, d=32, heads=2, depth=2):
        super().__init__()
        self.embed = nn.Linear(features, d)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, frames + 1, d))
        self.heads = heads
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "qkv": nn.Linear(d, 3 * d), "out": nn.Linear(d, d), "norm1": nn.LayerNorm(d), "norm2": nn.LayerNorm(d),
                "mlp": nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)),
            }) for _ in range(depth)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 12)

    def forward(self, x):
        b = x.shape[0]
        x = torch.cat([self.token.expand(b, -1, -1), self.embed(x)], 1) + self.position
        for block in self.blocks:
            n, d = x.shape[1:]
            qkv = block["qkv"](x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            q, k, v = qkv.unbind(0)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
            x = block["norm1"](x + block["out"](y))
            x = block["norm2"](x + block["mlp"](x))
        return self.head(self.norm(x)[:, 0])


class PatchTransformer(nn.Module):
    """Nie et al. 2023: patches of a time series as tokens."""

    def __init__(self, channels=3, length=64, patch=8, d=32):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(channels * patch, d)
        self.position = nn.Parameter(torch.zeros(length // patch, d))
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d, 6)

    def forward(self, x):
        b, c, length = x.shape
        x = x.view(b, c, length // self.patch, self.patch).permute(0, 2, 1, 3).flatten(2)
        return self.head(self.encoder(self.embed(x) + self.position).mean(1))


def resnet1d():
    def block(i, o):
        body = nn.Sequential(
            conv_norm(i, o, 7, d=1), conv_norm(o, o, 5, d=1), nn.Conv1d(o, o, 3, 1, 1), nn.BatchNorm1d(o)
        )
        return Residual(body, nn.Sequential(nn.Conv1d(i, o, 1), nn.BatchNorm1d(o)))

    return nn.Sequential(
        block(3, 24), block(24, 48), block(48, 48), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 6)
    )


class SiameseEmbed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2),
            nn.PReLU(16),
            nn.InstanceNorm2d(16, affine=True),
            nn.Conv2d(16, 32, 3, 2),
            nn.PReLU(),
        )
        self.head = nn.Linear(32, 16)

    def forward(self, x):
        return F.normalize(self.head(self.body(x).mean((2, 3))), dim=1)


class Tcn(nn.Module):
    """Bai et al. 2018: causal convolutions, ever more dilated."""

    def __init__(self, i=3, c=16, depth=4):
        super().__init__()
        self.first = nn.ModuleList(nn.Conv1d(i if k == 0 else c, c, 3, dilation=2**k) for k in range(depth))
        self.second = nn.ModuleList(nn.Conv1d(c, c, 3, dilation=2**k) for k in range(depth))
        self.short = nn.Conv1d(i, c, 1)
        self.head = nn.Linear(c, 6)

    def forward(self, x):
        for k, (a, b) in enumerate(zip(self.first, self.second)):
            y = F.relu(a(F.pad(x, (2 * 2**k, 0))))
            y = F.relu(b(F.pad(y, (2 * 2**k, 0))))
            x = F.relu(y + (self.short(x) if k == 0 else x))
        return self.head(x[:, :, -1])


class TsMixer(nn.Module):
    """Chen et al. 2023: mixing over time, then over channels."""

    def __init__(self, length=24, channels=6, classes=5):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.time = nn.Linear(length, length)
        self.mix = nn.Sequential(nn.Linear(channels, 32), nn.GELU(), nn.Linear(32, channels))
        self.head = nn.Linear(length * channels, classes)

    def forward(self, x):
        x = x + F.relu(self.time(self.norms[0](x).transpose(1, 2))).transpose(1, 2)
        x = x + self.mix(self.norms[1](x))
        return self.head(x.flatten(1))


class UnetSmall(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.a, self.b = conv_norm(1, c, 3), conv_norm(c, 2 * c, 3)
        self.c = conv_norm(2 * c, 4 * c, 3)
        self.d, self.e = conv_norm(6 * c, 2 * c, 3), conv_norm(3 * c, c, 3)
        self.out = nn.Conv2d(c, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = F.interpolate(self.c(F.max_pool2d(b, 2)), scale_factor=2, mode="bilinear", align_corners=False)
        d = F.interpolate(self.d(torch.cat([c, b], 1)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(self.e(torch.cat([d, a], 1)))


NETS = {
    "bc_resnet_block": (BcResnetBlock, (1, 20, 16)),
    "conv_autoencoder": (ConvAutoencoder, (1, 12, 12)),
    "crnn_audio": (Crnn, (1, 40, 24)),
    "ds_cnn": (ds_cnn, (1, 25, 10)),
    "eegnet": (EegNet, (1, 6, 64)),
    "gru_cls": (lambda: Recurrent(nn.GRU), (16, 6)),
    "inceptiontime": (InceptionTime, (3, 40)),
    "kwt_tiny": (Kwt, (20, 16)),
    "lstm_cls": (lambda: Recurrent(nn.LSTM, 2, last=True), (16, 6)),
    "mlp": (mlp, (1, 28, 28)),
    "patch_ts_transformer": (PatchTransformer, (3, 64)),
    "resnet1d": (resnet1d, (3, 48)),
    "siamese_embed": (SiameseEmbed, (1, 20, 20)),
    "tcn": (Tcn, (3, 40)),
    "ts_mixer": (TsMixer, (24, 6)),
    "unet_small": (UnetSmall, (1, 16, 16)),
    "yamnet_like": (yamnet_like, (1, 48, 32)),
}


def build(name, seed=0):
    """(module with random parameters and statistics, shape of a sample)."""
    torch.manual_seed(seed)
    make, shape = NETS[name]
    module = make()
    with torch.no_grad():
        for key, p in module.named_parameters():
            # norms, biases and codes away from what they begin as; no two layers alike
            p.add_((0.3 if p.ndim < 2 or key in ("token", "position") else 0.01) * torch.randn_like(p))
        for key, buffer in module.named_buffers():
            if key.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn_like(buffer))
            elif key.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return module, shape
