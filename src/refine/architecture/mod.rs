//! The networks of the field, one file each, told by the names of their tensors.
//!
//! Each file says which names make its network, takes width and depth from the shapes, and lists the operations. Sources are named
//! there. What is not here: file formats (`checkpoint`), arithmetic (`reference`).

mod compact;
mod edsr;
mod espcn;
mod fsrcnn;
mod msrresnet;
mod rrdb;
mod srcnn;
mod srgan;
mod vdsr;
mod vgg;

use super::checkpoint::{Checkpoint, shown};
use super::network::{Input, Network};
use crate::error::{Error, Kind, Result};

/// Names shown of a checkpoint that nobody knows.
const SHOWN: usize = 4;

/// Most layers, blocks or groups of blocks of a kind; networks of the field have up to 80. As many names cost little, and what they
/// announce is looked for layer by layer, a file could ask for any amount of work.
const MOST_LAYERS: usize = 128;

/// What each file offers: the network of a checkpoint if its names are those of this architecture, by preference of a scale.
type Detect = fn(&Checkpoint, f64) -> Option<Result<Network>>;

const ALL: [Detect; 10] = [
    |checkpoint, _| rrdb::network(checkpoint),
    edsr::network,
    |checkpoint, _| msrresnet::network(checkpoint),
    |checkpoint, _| compact::network(checkpoint),
    |checkpoint, _| srgan::network(checkpoint),
    |checkpoint, _| vdsr::network(checkpoint),
    |checkpoint, _| fsrcnn::network(checkpoint),
    |checkpoint, _| srcnn::network(checkpoint),
    |checkpoint, _| espcn::network(checkpoint),
    |checkpoint, _| vgg::network(checkpoint),
];

/// The network that a checkpoint holds, as [`Network::of_scale`] chooses it.
///
/// # Errors
/// [`Kind::Input`] if its names are of no known architecture, or tensors are missing, superfluous or of other shapes; the
/// message lists them.
pub(super) fn detect(checkpoint: &Checkpoint, wanted: f64) -> Result<Network> {
    ALL.iter().find_map(|detect| detect(checkpoint, wanted)).unwrap_or_else(|| {
        let names: Vec<String> = checkpoint.tensors.keys().take(SHOWN).map(|name| shown(name)).collect();
        let (count, names) = (checkpoint.tensors.len(), names.join(", "));
        let message = format!("no known architecture has these {count} tensors: {names}, ...");
        let hint =
            "known are RRDBNet, EDSR, MDSR, RCAN, MSRResNet, Compact, SRGAN, VDSR, FSRCNN, SRCNN, ESPCN and VGG19";
        Err(Error::new(Kind::Input, message).hint(hint))
    })
}

/// Length of axis `axis` of tensor `key`; 0 if there is none.
fn axis(checkpoint: &Checkpoint, key: &str, axis: usize) -> usize {
    checkpoint.tensors.get(key).and_then(|tensor| tensor.shape.get(axis)).copied().unwrap_or(0)
}

/// How many of `key(0)`, `key(1)`, ... there are, one after the other; those beyond [`MOST_LAYERS`] are not looked for.
fn count(checkpoint: &Checkpoint, key: impl Fn(usize) -> String) -> usize {
    (0..MOST_LAYERS).take_while(|&n| checkpoint.tensors.contains_key(&key(n))).count()
}

/// The factor of the shuffle after the convolution `name`, 2 or 3, of which its channels tell.
fn shuffle_factor(checkpoint: &Checkpoint, name: &str) -> usize {
    let key = format!("{name}.weight");
    let (made, taken) = (axis(checkpoint, &key, 0), axis(checkpoint, &key, 1));
    if made.checked_div(taken) == Some(9) { 3 } else { 2 }
}

/// The whole number whose square is `n`, if there is one.
fn square_root(n: usize) -> Option<usize> {
    let root = n.isqrt();
    (root > 0 && root * root == n).then_some(root)
}

/// The input of a network that takes so many channels.
fn input_of(channels: usize) -> Option<Input> {
    match channels {
        1 => Some(Input::Luma),
        3 => Some(Input::Rgb),
        _ => None,
    }
}

/// The error of a network whose pictures have neither one channel nor three.
fn unusual(name: &str, channels: usize) -> Error {
    let message = format!("this {name} takes pictures of {channels} channels, not R, G and B or luma");
    Error::new(Kind::Input, message)
}
