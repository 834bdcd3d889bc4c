//! Runs networks as tensors of candle-core: on a graphics card through CUDA or Metal, or on candle's own CPU code.
//!
//! Every operation is made of candle's, so this file knows no device; what the operations mean is `reference`, from which the
//! results differ by rounding alone. Pictures are tensors of one picture, its channels, rows and columns. Convolutions unfold
//! their input, so a kernel of 3 x 3 takes nine times the memory of what it reads.
//!
//! What is not here: tiles. A device without memory for a picture says so with its own kind of error, and the caller takes
//! smaller ones.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use candle_core::{Device as Place, Error as Cause, Result as Computed, Tensor};
use ndarray::{ArrayView3, ArrayViewMut3};

use super::network::{Border, Convolution, Input, Network, Op, Value};
use crate::error::{Error, Kind, Result};

/// What causes of failure say, in small letters, where memory is what a device lacks: CUDA, cuBLAS, and Metal, which has no
/// other reason not to make a buffer.
const NO_MEMORY: [&str; 5] =
    ["out_of_memory", "out of memory", "alloc_failed", "insufficient memory", "failed to create metal resource"];

/// Where networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor, by candle.
    #[default]
    Cpu,
    /// The graphics card of this number, from 0, through CUDA.
    Cuda(usize),
    /// The system's graphics card through Metal.
    Metal,
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        match text {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            "metal" => Some(Self::Metal),
            _ => text.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or_else(|| Error::new(Kind::Usage, format!("device {text:?} is not one of cpu, cuda, cuda:N, metal")))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(number) => f.pad(&format!("cuda:{number}")),
            Self::Metal => f.pad("metal"),
        }
    }
}

impl Device {
    fn open(self) -> Result<Place> {
        // A system without any Metal device makes candle panic, not fail.
        let opened = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Cpu => Ok(Place::Cpu),
            Self::Cuda(number) => Place::new_cuda(number),
            Self::Metal => Place::new_metal(0),
        }));
        match opened {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(Cause::NotCompiledWithCudaSupport)) => Err(self.not_built("cuda")),
            Ok(Err(Cause::NotCompiledWithMetalSupport)) => Err(self.not_built("metal")),
            Ok(Err(cause)) => Err(self.not_opened().caused_by(cause)),
            Err(_) => Err(self.not_opened()),
        }
    }

    fn not_built(self, feature: &str) -> Error {
        let message = format!("device {self} cannot be used: this program is built without the {feature} feature");
        Error::new(Kind::Unavailable, message).hint(format!("build with --features {feature}, or use the device cpu"))
    }

    fn not_opened(self) -> Error {
        let hint = "see that the device is there and its driver works, or use the device cpu";
        Error::new(Kind::Unavailable, format!("device {self} cannot be opened")).hint(hint)
    }

    /// The error for what failed on the device while doing `what`.
    fn failed(self, what: &str, cause: Cause) -> Error {
        let text = cause.to_string().to_lowercase();
        if NO_MEMORY.iter().any(|words| text.contains(words)) {
            let message = format!("device {self} has not enough memory left for {what}");
            return Error::new(Kind::Resource, message).hint("smaller tiles take less").caused_by(cause);
        }
        // Nothing is missing where the processor fails: the tensors were put together wrongly.
        let kind = if self == Self::Cpu { Kind::Bug } else { Kind::Unavailable };
        Error::new(kind, format!("device {self} failed at {what}")).caused_by(cause)
    }
}

/// An operation with its weights on the device.
type Layer = Box<dyn Fn(&[&Tensor]) -> Computed<Tensor> + Send + Sync>;

/// A layer, what it takes, and what nobody takes after it.
struct Step {
    layer: Layer,
    takes: Vec<Value>,
    ending: Vec<Value>,
}

/// A network whose weights lie on a device, ready to be run.
pub struct OnDevice {
    name: String,
    device: Device,
    place: Place,
    input: Input,
    multiple: usize,
    steps: Vec<Step>,
}

impl fmt::Debug for OnDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.device)
    }
}

impl OnDevice {
    /// Opens the device and copies the weights of `network` to it, 4 bytes each.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the program is built without support for the device, or it cannot be opened;
    /// [`Kind::Resource`] if its memory does not hold the weights.
    pub fn new(network: &Network, device: &Device) -> Result<Self> {
        let place = device.open()?;
        let steps = steps(network, &place).map_err(|cause| device.failed("the weights", cause))?;
        let (name, input, multiple) = (network.name.clone(), network.input, network.multiple);
        Ok(Self { name, device: *device, place, input, multiple, steps })
    }

    /// Writes what the network makes of `input`, `channels x rows x columns`, to `out`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the channels of `input` are not the network's, a side is 0 or not a multiple of
    /// [`Network::multiple`], or `out` has not the size of the result; [`Kind::Resource`] if the memory of the device does not
    /// suffice (a smaller picture may do); [`Kind::Unavailable`] if the device fails otherwise.
    pub fn run(&self, input: ArrayView3<'_, f32>, mut out: ArrayViewMut3<'_, f32>) -> Result<()> {
        self.input.check(self.multiple, input.dim())?;
        let (_, rows, columns) = input.dim();
        let what = format!("{} of a picture of {columns}x{rows}", self.name);
        let (size, values) = self.compute(input).map_err(|cause| self.device.failed(&what, cause))?;
        if size != out.dim() {
            let message = format!("a result of {size:?} (channels, rows, columns) for a place of {:?}", out.dim());
            return Err(Error::new(Kind::Usage, message));
        }
        out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
        Ok(())
    }

    /// Size (channels, rows, columns) and values of the result.
    fn compute(&self, input: ArrayView3<'_, f32>) -> Computed<((usize, usize, usize), Vec<f32>)> {
        let (channels, rows, columns) = input.dim();
        let picture = Tensor::from_vec(input.iter().copied().collect(), (1, channels, rows, columns), &self.place)?;
        let mut values = vec![Some(picture)];
        for Step { layer, takes, ending } in &self.steps {
            let taken: Vec<&Tensor> = takes.iter().filter_map(|&value| values[value].as_ref()).collect();
            let made = layer(&taken)?;
            ending.iter().for_each(|&value| values[value] = None);
            values.push(Some(made));
        }
        let Some(made) = values.pop().flatten() else { candle_core::bail!("a network without operations") };
        let (_, channels, rows, columns) = made.dims4()?;
        Ok(((channels, rows, columns), made.flatten_all()?.to_vec1()?))
    }
}

/// The operations of a network with their weights on a device.
fn steps(network: &Network, place: &Place) -> Computed<Vec<Step>> {
    let mut steps = Vec::with_capacity(network.nodes.len());
    for (node, ending) in network.nodes.iter().zip(network.last_uses()) {
        steps.push(Step { layer: layer(&node.op, place)?, takes: node.takes.clone(), ending });
    }
    // Copies may run in a queue that belongs to this thread; another one may use them.
    place.synchronize()?;
    Ok(steps)
}

/// See [`Op`] for what each of them is.
fn layer(op: &Op, place: &Place) -> Computed<Layer> {
    Ok(match *op {
        Op::Convolve(ref convolution) => convolve(convolution, place)?,
        Op::Slopes(ref slopes) => {
            let slopes = Tensor::from_slice(slopes, (1, slopes.len(), 1, 1), place)?;
            Box::new(move |x| x[0].relu()? + x[0].minimum(0.0)?.broadcast_mul(&slopes)?)
        }
        // Up to a slope of one the larger of both is right for either sign.
        Op::Leaky(slope) if slope <= 1.0 => Box::new(move |x| x[0].maximum(&x[0].affine(slope.into(), 0.0)?)),
        Op::Leaky(slope) => Box::new(move |x| x[0].minimum(&x[0].affine(slope.into(), 0.0)?)),
        Op::Relu => Box::new(|x| x[0].relu()),
        Op::Tanh => Box::new(|x| x[0].tanh()),
        Op::Sigmoid => Box::new(|x| (x[0].neg()?.exp()? + 1.0)?.recip()),
        // Rows first: one sum of all pixels would lose digits.
        Op::Mean => Box::new(|x| x[0].mean_keepdim(3)?.mean_keepdim(2)),
        Op::Multiply => Box::new(|x| x[0].broadcast_mul(x[1])),
        Op::Scale { factor, offset } => Box::new(move |x| x[0].affine(factor.into(), offset.into())),
        Op::Add(1.0) => Box::new(|x| x[0] + x[1]),
        Op::Add(factor) => Box::new(move |x| x[0].affine(factor.into(), 0.0)? + x[1]),
        Op::Concat => Box::new(|x| Tensor::cat(x, 1)),
        Op::Repeat(factor) => Box::new(move |x| {
            let (_, _, rows, columns) = x[0].dims4()?;
            x[0].upsample_nearest2d(rows * factor, columns * factor)
        }),
        Op::Bilinear(factor) => Box::new(move |x| between(&between(x[0], 3, factor)?, 2, factor)),
        Op::Shuffle(r) => Box::new(move |x| shuffled(x[0], r)),
        Op::Unshuffle(r) => Box::new(move |x| unshuffled(x[0], r)),
        Op::Pool(r) => Box::new(move |x| {
            let (n, channels, rows, columns) = x[0].dims4()?;
            x[0].reshape((n * channels, rows / r, r, columns / r, r))?.max(4)?.max(2)?.reshape((
                n,
                channels,
                rows / r,
                columns / r,
            ))
        }),
    })
}

fn convolve(convolution: &Convolution, place: &Place) -> Computed<Layer> {
    let &Convolution { inputs, outputs, kernel: (height, width), border, .. } = convolution;
    let kernel = Tensor::from_slice(&convolution.weights, (outputs, inputs, height, width), place)?;
    let bias = match &convolution.bias[..] {
        [] => None,
        bias => Some(Tensor::from_slice(bias, (1, outputs, 1, 1), place)?),
    };
    let frame = (height / 2, width / 2);
    // Candle adds zeros by itself, as many to rows as to columns.
    let inner = if border == Border::Zeros && height == width { frame.0 } else { 0 };
    Ok(Box::new(move |x| {
        let made = match inner {
            0 => framed(x[0], frame, border)?.conv2d(&kernel, 0, 1, 1, 1)?,
            _ => x[0].conv2d(&kernel, inner, 1, 1, 1)?,
        };
        match &bias {
            Some(bias) => made.broadcast_add(bias),
            None => Ok(made),
        }
    }))
}

/// A picture with a frame of so many rows and columns around it.
fn framed(picture: &Tensor, (height, width): (usize, usize), border: Border) -> Computed<Tensor> {
    match border {
        Border::Zeros => picture.pad_with_zeros(2, height, height)?.pad_with_zeros(3, width, width),
        Border::Repeated => picture.pad_with_same(2, height, height)?.pad_with_same(3, width, width),
    }
}

/// A picture with `r` pixels for each one along the axis `axis`, interpolated between their middles.
fn between(picture: &Tensor, axis: usize, r: usize) -> Computed<Tensor> {
    let mut sizes = picture.dims().to_vec();
    let framed = picture.pad_with_same(axis, 1, 1)?;
    let phase = |n: usize| {
        // Half a pixel to the left of the middle at most, and less than half to the right of it.
        let from_middle = (n as f64 + 0.5) / r as f64 - 0.5;
        let left = usize::from(from_middle >= 0.0);
        let share = from_middle + (1 - left) as f64;
        let part = |first: usize, share: f64| framed.narrow(axis, first, sizes[axis])?.affine(share, 0.0);
        part(left, 1.0 - share)? + part(left + 1, share)?
    };
    let phases = (0..r).map(phase).collect::<Computed<Vec<Tensor>>>()?;
    let together = Tensor::stack(&phases, axis + 1)?;
    sizes[axis] *= r;
    together.reshape(sizes)
}

fn shuffled(picture: &Tensor, r: usize) -> Computed<Tensor> {
    let (_, channels, rows, columns) = picture.dims4()?;
    let channels = channels / (r * r);
    let blocks = picture.reshape((channels, r, r, rows, columns))?.permute((0, 3, 1, 4, 2))?;
    blocks.reshape((1, channels, rows * r, columns * r))
}

fn unshuffled(picture: &Tensor, r: usize) -> Computed<Tensor> {
    let (_, channels, rows, columns) = picture.dims4()?;
    let (rows, columns) = (rows / r, columns / r);
    let blocks = picture.reshape((channels, rows, r, columns, r))?.permute((0, 2, 4, 1, 3))?;
    blocks.reshape((1, channels * r * r, rows, columns))
}

#[cfg(test)]
mod tests {
    use super::super::network::Node;
    use super::super::reference::{self, Picture};
    use super::*;

    /// Numbers that look random, -1 to 1.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(next).collect()
    }

    fn picture(size: (usize, usize, usize)) -> Picture {
        Picture::from_shape_vec(size, noise(size.0 * size.1 * size.2, 7)).expect("as many as wanted")
    }

    fn convolution((inputs, outputs): (usize, usize), kernel: (usize, usize), border: Border, biased: bool) -> Op {
        let weights = noise(inputs * outputs * kernel.0 * kernel.1, 1);
        let bias = if biased { noise(outputs, 2) } else { Vec::new() };
        Op::Convolve(Convolution { inputs, outputs, kernel, weights, bias, border })
    }

    /// The farthest that the processor, by candle, is from the definition, for operations on a picture of RGB one after the
    /// other; those that take two get the input of the network as the second.
    #[track_caller]
    fn apart(ops: Vec<Op>, size: (usize, usize)) -> f32 {
        let node = |(n, op): (usize, Op)| {
            let two = matches!(op, Op::Add(_) | Op::Multiply | Op::Concat);
            Node { op, takes: if two { vec![n, 0] } else { vec![n] } }
        };
        let nodes = ops.into_iter().enumerate().map(node).collect();
        let network = Network { name: "test".into(), input: Input::Rgb, scale: 1, multiple: 1, nodes };
        let input = picture((3, size.0, size.1));
        let wanted = reference::run(&network, &input).expect("the definition");
        let mut found = Picture::zeros(wanted.dim());
        OnDevice::new(&network, &Device::Cpu).expect("ready").run(input.view(), found.view_mut()).expect("a result");
        found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn every_operation_is_what_the_definition_makes() {
        let squeezed = || convolution((3, 3), (1, 1), Border::Zeros, true);
        let cases: Vec<(&str, Vec<Op>)> = vec![
            ("slopes", vec![Op::Slopes(vec![0.25, -0.5, 3.0])]),
            ("leaky", vec![Op::Leaky(0.2)]),
            ("a steep slope", vec![Op::Leaky(1.5)]),
            ("relu", vec![Op::Relu]),
            ("tanh", vec![Op::Tanh]),
            ("sigmoid", vec![Op::Scale { factor: 150.0, offset: 1.0 }, Op::Sigmoid]),
            ("scale", vec![Op::Scale { factor: -2.0, offset: 0.5 }]),
            ("add", vec![Op::Relu, Op::Add(1.0)]),
            ("add a share", vec![Op::Relu, Op::Add(0.2)]),
            ("concat", vec![Op::Relu, Op::Concat]),
            ("repeat", vec![Op::Repeat(3)]),
            ("bilinear", vec![Op::Bilinear(2)]),
            ("bilinear, odd", vec![Op::Bilinear(3)]),
            ("bilinear by one", vec![Op::Bilinear(1)]),
            ("unshuffle", vec![Op::Unshuffle(2)]),
            ("pool", vec![Op::Pool(2)]),
            ("both shuffles", vec![Op::Unshuffle(2), Op::Relu, Op::Shuffle(2)]),
            ("three to a side", vec![convolution((3, 18), (3, 3), Border::Zeros, true), Op::Shuffle(3)]),
            ("mean and its picture", vec![Op::Mean, squeezed(), Op::Sigmoid]),
        ];
        for (what, ops) in cases {
            let off = apart(ops, (6, 10));
            assert!(off <= 5e-6, "{what}: {off}");
        }
    }

    #[test]
    fn the_first_picture_is_multiplied_by_pixels_of_the_second() {
        let takes = |op, takes: &[Value]| Node { op, takes: takes.to_vec() };
        let nodes = vec![takes(Op::Mean, &[0]), takes(Op::Multiply, &[0, 1])];
        let network = Network { name: "test".into(), input: Input::Rgb, scale: 1, multiple: 1, nodes };
        let input = picture((3, 400, 700));
        let wanted = reference::run(&network, &input).expect("the definition");
        let mut found = Picture::zeros(wanted.dim());
        OnDevice::new(&network, &Device::Cpu).expect("ready").run(input.view(), found.view_mut()).expect("a result");
        let off = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-7, "{off}");
    }

    #[test]
    fn kernels_of_any_odd_size_see_either_border() {
        for kernel in [(1, 1), (3, 3), (5, 5), (9, 9), (1, 3), (5, 1), (3, 7)] {
            for border in [Border::Zeros, Border::Repeated] {
                for (size, biased) in [((11, 13), true), ((1, 1), false), ((2, 40), true)] {
                    let off = apart(vec![convolution((3, 5), kernel, border, biased)], size);
                    assert!(off <= 2e-5, "{kernel:?}, {border:?}, {size:?}: {off}");
                }
            }
        }
    }

    #[test]
    fn devices_have_names() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:0", Device::Cuda(0)),
            ("cuda:12", Device::Cuda(12)),
            ("metal", Device::Metal),
        ] {
            assert_eq!(text.parse::<Device>().expect(text), device);
            assert_eq!(device.to_string().parse::<Device>().expect("its own name"), device);
        }
        for wrong in
            ["", "CPU", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:99999999999999999999", "metal:0", "gpu"]
        {
            let error = wrong.parse::<Device>().expect_err(wrong);
            assert_eq!(error.kind(), Kind::Usage, "{wrong}");
            assert!(error.to_string().ends_with("is not one of cpu, cuda, cuda:N, metal"), "{error}");
        }
    }

    #[test]
    fn a_lack_of_memory_is_told_from_other_failures() {
        for text in [
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
            "Metal error Failed to create metal resource: Buffer",
            "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        ] {
            assert_eq!(Device::Cuda(0).failed("it", Cause::msg(text)).kind(), Kind::Resource, "{text}");
        }
        let lost = || Cause::msg("DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)");
        assert_eq!(Device::Cuda(0).failed("it", lost()).kind(), Kind::Unavailable);
        assert_eq!(Device::Cpu.failed("it", lost()).kind(), Kind::Bug);
    }

    #[test]
    fn a_network_may_move_to_another_thread() {
        fn check<T: Send + Sync>() {}
        check::<OnDevice>();
    }
}
