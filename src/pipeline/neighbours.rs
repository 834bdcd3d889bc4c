//! The frames around the one to enlarge: which show the same scene, how they lie on it, and what is kept of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use rayon::prelude::*;

use super::evidence::{Evidence, Witness};
use super::registration::Registered;
use crate::fuse::{Blur, Neighbour, Prediction, Reconstructor};
use crate::register::{Field, FieldDetail, Registrar};

/// A frame beside the one to enlarge: its place in the window and how it lies on it.
pub(super) struct Beside<'a> {
    pub(super) at: usize,
    pub(super) field: Cow<'a, Field>,
    /// Its luma is about `gain * that of the frame to enlarge + offset`.
    gain: f64,
    offset: f64,
}

/// Frame `at` and its neighbours, to be kept for longer than the window.
pub(super) fn evidence(
    frames: &VecDeque<Arc<Registered>>,
    at: usize,
    neighbours: Vec<Beside<'_>>,
    blur: Option<Blur>,
) -> Evidence {
    let witness = |n: Beside<'_>| {
        let (field, gain, offset) = (n.field.into_owned(), n.gain, n.offset);
        Witness { frame: Arc::clone(&frames[n.at]), field, gain, offset }
    };
    Evidence { reference: Arc::clone(&frames[at]), witnesses: neighbours.into_iter().map(witness).collect(), blur }
}

/// The frames of a window as the reconstruction takes them.
pub(super) fn offered<'a>(frames: &'a VecDeque<Arc<Registered>>, beside: &'a [Beside<'_>]) -> Vec<Neighbour<'a>> {
    let offer = |n: &'a Beside<'_>| {
        let other = &frames[n.at];
        let appearance = other.appearance.as_ref()?;
        Some(Neighbour { planes: &other.frame.planes, appearance, field: &n.field, gain: n.gain, offset: n.offset })
    };
    beside.iter().filter_map(offer).collect()
}

/// The frames around `at` that show the same scene, each with its field onto frame `at`.
///
/// Fields of successive frames are chained to frame `at` and then refined against it; what comes out depends on the
/// frames from there to here alone.
pub(super) fn beside<'a>(
    frames: &'a VecDeque<Arc<Registered>>,
    registrar: Option<&Registrar>,
    detail: Option<FieldDetail>,
    radius: usize,
    at: usize,
) -> Vec<Beside<'a>> {
    let (mut found, mut after) = (Vec::new(), Vec::new());
    // Towards the past: frame `at - k` goes forward to `at - k + 1`, and from there to `at`.
    let mut chain: Option<(Cow<'_, Field>, f64, f64)> = None;
    for k in 1..=radius.min(at) {
        let Some(link) = &frames[at - k + 1].link else { break };
        let (field, gain, offset) = match &chain {
            None => (Cow::Borrowed(&link.forward), 1.0, 0.0),
            Some((field, gain, offset)) => (Cow::Owned(link.forward.then(field)), *gain, *offset),
        };
        // y(k) = (y(k - 1) - o) / g and y(k - 1) = gain * y + offset.
        let next = (field, gain / link.gain, (offset - link.offset) / link.gain);
        found.push(Beside { at: at - k, field: next.0.clone(), gain: next.1, offset: next.2 });
        chain = Some(next);
    }
    found.reverse();
    chain = None;
    for k in 1..=radius.min(frames.len() - 1 - at) {
        let Some(link) = &frames[at + k].link else { break };
        let (field, gain, offset) = match &chain {
            None => (Cow::Borrowed(&link.backward), 1.0, 0.0),
            Some((field, gain, offset)) => (Cow::Owned(link.backward.then(field)), *gain, *offset),
        };
        let next = (field, gain * link.gain, offset * link.gain + link.offset);
        after.push(Beside { at: at + k, field: next.0.clone(), gain: next.1, offset: next.2 });
        chain = Some(next);
    }
    found.extend(after);
    found.par_iter_mut().filter(|n| n.at.abs_diff(at) > 1).for_each(|n| {
        let pair = frames[at].prepared.as_deref().zip(frames[n.at].prepared.as_deref());
        if let (Some(registrar), Some(detail), Some((reference, moving))) = (registrar, detail, pair) {
            n.field = Cow::Owned(registrar.refine_field(reference, moving, &n.field, detail));
            (n.gain, n.offset) = registrar.brightness_under(reference, moving, &n.field);
        }
    });
    found
}

/// Corrects the fields of `neighbours` by what a draft of frame `at` foretells of them.
pub(super) fn correct(
    frames: &VecDeque<Arc<Registered>>,
    neighbours: &mut [Beside<'_>],
    at: usize,
    solver: &mut Reconstructor,
    registrar: &Registrar,
    detail: FieldDetail,
) {
    let Some(appearance) = &frames[at].appearance else { return };
    let offered = offered(frames, neighbours);
    if offered.len() != neighbours.len() {
        return;
    }
    let predictions = solver.predict(&frames[at].frame.planes, appearance, &offered);
    neighbours.par_iter_mut().zip(predictions).for_each(|(neighbour, prediction)| {
        if let Some(Prediction { predicted, seen }) = prediction {
            let field = registrar.correct_field(predicted.view(), seen.view(), &neighbour.field, detail);
            neighbour.field = Cow::Owned(field);
        }
    });
}
