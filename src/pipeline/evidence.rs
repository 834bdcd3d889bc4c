//! What a refined picture is held to: the frames of its window, and how they lie on it.
//!
//! Frames are shared with the window; whoever drops one last gives its planes back.

use std::sync::Arc;

use super::registration::Registered;
use crate::frame::PlanePool;
use crate::fuse::{Blur, Neighbour};
use crate::register::Field;

/// The frame that was enlarged and those that helped.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) reference: Arc<Registered>,
    pub(super) witnesses: Vec<Witness>,
    /// Blur of the camera, where it was measured.
    pub(super) blur: Option<Blur>,
}

/// A frame beside the one that was enlarged.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) frame: Arc<Registered>,
    /// Where each pixel of it lies in the reference.
    pub(super) field: Field,
    /// Its luma is about `gain * that of the reference + offset`.
    pub(super) gain: f64,
    pub(super) offset: f64,
}

impl Evidence {
    /// The frames beside the reference as the reconstruction takes them.
    pub(super) fn neighbours(&self) -> Vec<Neighbour<'_>> {
        let all = self.witnesses.iter().filter_map(|witness| {
            let appearance = witness.frame.appearance.as_ref()?;
            let (planes, field) = (&witness.frame.frame.planes[..], &witness.field);
            Some(Neighbour { planes, appearance, field, gain: witness.gain, offset: witness.offset })
        });
        all.collect()
    }

    /// Gives planes of frames that nobody else needs to `pool`.
    pub(super) fn give_back(self, pool: &PlanePool) {
        let frames = self.witnesses.into_iter().map(|witness| witness.frame).chain([self.reference]);
        frames.filter_map(Arc::into_inner).for_each(|frame| pool.give(frame.frame.planes));
    }
}
