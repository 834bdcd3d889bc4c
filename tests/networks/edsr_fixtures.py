"""Tiny EDSR, MDSR, RCAN and MSRResNet checkpoints with random weights, and what they make of a picture: numpy alone, in f64.

Written from the papers and the names in the authors' and BasicSR's files, apart from the Rust code that they test.
Run in this folder: python3 edsr_fixtures.py
"""
import json
import struct

import numpy as np

MEAN = np.array([0.4488, 0.4371, 0.4040])


def save(name, tensors):
    header, data, at = {}, b"", 0
    for key in sorted(tensors):
        raw = tensors[key].astype("<f4").tobytes()
        header[key] = {"dtype": "F32", "shape": list(tensors[key].shape), "data_offsets": [at, at + len(raw)]}
        data, at = data + raw, at + len(raw)
    text = json.dumps(header).encode()
    open(name, "wb").write(struct.pack("<Q", len(text)) + text + data)


class Net:
    def __init__(self, seed):
        self.rng, self.tensors = np.random.default_rng(seed), {}

    def conv(self, name, x, outputs, kernel=3):
        if name + ".weight" in self.tensors:
            return self.apply(name, x, self.tensors[name + ".weight"], self.tensors[name + ".bias"])
        gain = 0.7 / np.sqrt(x.shape[0] * kernel * kernel)
        w = (self.rng.standard_normal((outputs, x.shape[0], kernel, kernel)) * gain).astype(np.float32)
        b = (self.rng.standard_normal(outputs) * 0.05).astype(np.float32)
        return self.apply(name, x, w, b)

    def apply(self, name, x, w, b):
        self.tensors[name + ".weight"], self.tensors[name + ".bias"] = w, b
        k = w.shape[2] // 2
        padded = np.pad(x, ((0, 0), (k, k), (k, k)))
        rows, columns = x.shape[1:]
        out = np.zeros((w.shape[0], rows, columns)) + b.astype(np.float64)[:, None, None]
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                out += np.einsum("oc,cyx->oyx", w[:, :, i, j].astype(np.float64), padded[:, i:i + rows, j:j + columns])
        return out

    def colors(self, name, x, sign):
        return self.apply(name, x, np.eye(3, dtype=np.float32)[:, :, None, None], (sign * 255 * MEAN).astype(np.float32))


def shuffle(x, r):
    c, h, w = x.shape
    return x.reshape(c // (r * r), r, r, h, w).transpose(0, 3, 1, 4, 2).reshape(c // (r * r), h * r, w * r)


def relu(x):
    return np.maximum(x, 0)


def upsample(net, name, x, width, scale):
    for step, r in enumerate([scale] if scale == 3 else [2] * (scale.bit_length() - 1)):
        x = shuffle(net.conv(f"{name}.{2 * step}", x, width * r * r), r)
    return x


def edsr(x, scale, width=8, blocks=2):
    net = Net(1)
    first = y = net.conv("head.0", net.colors("sub_mean", 255 * x, -1), width)
    for n in range(blocks):
        y = y + net.conv(f"body.{n}.body.2", relu(net.conv(f"body.{n}.body.0", y, width)), width)
    y = net.conv(f"body.{blocks}", y, width) + first
    y = net.conv("tail.1", upsample(net, "tail.0", y, width, scale), 3)
    return net, net.colors("add_mean", y, 1) / 255


def edsr_basicsr(x, scale, width=8, blocks=2):
    net = Net(2)
    first = y = net.conv("conv_first", 255 * (x - MEAN[:, None, None]), width)
    for n in range(blocks):
        y = y + net.conv(f"body.{n}.conv2", relu(net.conv(f"body.{n}.conv1", y, width)), width)
    y = net.conv("conv_after_body", y, width) + first
    y = net.conv("conv_last", upsample(net, "upsample", y, width, scale), 3)
    return net, y / 255 + MEAN[:, None, None]


def rcan(x, scale, width=8, groups=2, blocks=2):
    net = Net(3)
    first = y = net.conv("head.0", net.colors("sub_mean", 255 * x, -1), width)
    for g in range(groups):
        start = y
        for b in range(blocks):
            name = f"body.{g}.body.{b}.body"
            z = net.conv(f"{name}.2", relu(net.conv(f"{name}.0", y, width)), width)
            mean = z.mean(axis=(1, 2), keepdims=True)
            gain = net.conv(f"{name}.3.conv_du.2", relu(net.conv(f"{name}.3.conv_du.0", mean, width // 4, 1)), width, 1)
            y = y + z / (1 + np.exp(-gain))
        y = net.conv(f"body.{g}.body.{blocks}", y, width) + start
    y = net.conv(f"body.{groups}", y, width) + first
    y = net.conv("tail.1", upsample(net, "tail.0", y, width, scale), 3)
    return net, net.colors("add_mean", y, 1) / 255


def mdsr(x, scales=(2, 3, 4), width=3, blocks=2):
    """One checkpoint of all scales, and what each of them makes: layers outside the branches are made once."""
    net, outs = Net(4), []

    def block(name, y, kernel):
        return y + net.conv(f"{name}.2", relu(net.conv(f"{name}.0", y, width, kernel)), width, kernel)

    for s, scale in enumerate(scales):
        y = net.conv("head.0", net.colors("sub_mean", 255 * x, -1), width)
        for n in range(2):
            y = block(f"pre_process.{s}.{n}.body", y, 5)
        first = y
        for n in range(blocks):
            y = block(f"body.{n}.body", y, 3)
        y = net.conv(f"body.{blocks}", y, width) + first
        y = net.conv("tail.0", upsample(net, f"upsample.{s}", y, width, scale), 3)
        outs.append(net.colors("add_mean", y, 1) / 255)
    return net, outs


def leaky(x):
    return np.where(x < 0, 0.1 * x, x)


def bilinear(x, scale):
    def axis(n):
        at = (np.arange(n * scale) + 0.5) / scale - 0.5
        return np.array([np.interp(at, np.arange(n), unit) for unit in np.eye(n)])

    return np.einsum("cyx,yv,xw->cvw", x, axis(x.shape[1]), axis(x.shape[2]))


def msrresnet(x, scale, width=4, blocks=2):
    net = Net(5 + scale)
    y = leaky(net.conv("conv_first", x, width))
    for n in range(blocks):
        y = y + net.conv(f"body.{n}.conv2", relu(net.conv(f"body.{n}.conv1", y, width)), width)
    for step, r in enumerate([2, 2] if scale == 4 else [scale]):
        y = leaky(shuffle(net.conv(f"upconv{step + 1}", y, width * r * r), r))
    y = net.conv("conv_last", leaky(net.conv("conv_hr", y, width)), x.shape[0])
    return net, y + bilinear(x, scale)


picture = np.random.default_rng(0).random((3, 12, 16)).astype(np.float32)
np.save("edsr.in.npy", picture[None])
for name, make, scale in (("edsr_x4", edsr, 4), ("edsr_basicsr_x3", edsr_basicsr, 3), ("rcan_x2", rcan, 2)):
    net, out = make(picture.astype(np.float64), scale)
    save(f"{name}.safetensors", net.tensors)
    np.save(f"{name}.out.npy", out[None].astype(np.float32))

picture = np.random.default_rng(6).random((3, 6, 7)).astype(np.float32)
np.save("scales.in.npy", picture[None])
net, outs = mdsr(picture.astype(np.float64))
save("mdsr.safetensors", net.tensors)
for scale, out in zip((2, 3, 4), outs):
    np.save(f"mdsr_x{scale}.out.npy", out[None].astype(np.float32))
luma = picture[:1]
np.save("luma.in.npy", luma[None])
for scale, x in ((2, luma), (3, picture), (4, picture)):
    net, out = msrresnet(x.astype(np.float64), scale)
    save(f"msrresnet_x{scale}.safetensors", net.tensors)
    np.save(f"msrresnet_x{scale}.out.npy", out[None].astype(np.float32))
