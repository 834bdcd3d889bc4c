//! Times of packets where parts that were encoded by themselves follow each other: as one encoder would have given them.
//!
//! An encoder that shows pictures in another order than it codes them, `delay` pictures apart at most, decodes packet `k` at the time at
//! which picture `k - delay` is shown; before the first picture, as far apart as the first pictures are. That is so in every part, so it is so in
//! the whole, where `k` goes on counting.

use std::collections::VecDeque;

use crate::error::{Error, Kind, Result};

/// When a packet is shown, decoded, and how long it lasts, in ticks of the encoder's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketTimes {
    pub(super) shown: i64,
    pub(super) decoded: i64,
    pub(super) lasting: i64,
}

/// The order of packets from part to part.
#[derive(Debug)]
pub(super) struct Seams {
    /// Most pictures between the places of one in coded and in shown order.
    delay: usize,
    /// Ticks between two pictures, at least 1.
    step: i64,
    /// Times of pictures that no packet was decoded at yet, the oldest first.
    coming: VecDeque<i64>,
    /// Times of decoding before the first picture is shown, the last one first.
    early: Option<Vec<i64>>,
    last: Option<i64>,
    /// Pictures of the part that is being read, and which of them have come.
    part: Vec<(i64, i64, bool)>,
    /// Parameters that came with packets.
    pub(super) parameters: Option<Vec<u8>>,
}

impl Seams {
    /// For an encoder with this delay in pictures, usually `step` ticks apart.
    pub(super) fn new(delay: usize, step: i64) -> Self {
        Self {
            delay,
            step: step.max(1),
            coming: VecDeque::new(),
            early: None,
            last: None,
            part: Vec::new(),
            parameters: None,
        }
    }

    /// Begins a part whose pictures are shown at these times, as long as this.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if two are shown at the same tick.
    pub(super) fn begin(&mut self, pictures: impl Iterator<Item = (i64, i64)>) -> Result<()> {
        self.part.clear();
        for (shown, lasting) in pictures {
            if self.last.is_some_and(|last| shown <= last) {
                return Err(Error::new(
                    Kind::Unavailable,
                    "this encoder's clock cannot hold the distance of two frames",
                )
                .hint("take another --codec for this variable frame rate"));
            }
            self.last = Some(shown);
            self.coming.push_back(shown);
            self.part.push((shown, lasting, false));
        }
        if self.early.is_none() {
            self.early = Some(self.before_the_first());
        }
        Ok(())
    }

    /// The pictures' own distances, as long as there are pictures; then usual ones.
    fn before_the_first(&self) -> Vec<i64> {
        let first = self.part.first().map_or(0, |(shown, _, _)| *shown);
        match self.part.get(self.delay) {
            Some((last, _, _)) => self.part[..self.delay]
                .iter()
                .rev()
                .map(|(t, _, _)| t.saturating_sub(last.saturating_sub(first)))
                .collect(),
            None => (1..=self.delay as i64).map(|n| first.saturating_sub(self.step.saturating_mul(n))).collect(),
        }
    }

    /// Times of the part's next packet, which holds its picture `number`, counted from 0.
    ///
    /// # Errors
    /// [`Kind::Input`] if there is no such picture, if it came before, or if it comes later than the encoder may code it.
    pub(super) fn next(&mut self, number: usize) -> Result<PacketTimes> {
        let wrong = |what: &str| Error::new(Kind::Input, format!("picture {number} of it {what}"));
        let (shown, lasting, came) = self.part.get_mut(number).ok_or_else(|| wrong("is more than were planned"))?;
        if std::mem::replace(came, true) {
            return Err(wrong("is there twice"));
        }
        let (shown, lasting) = (*shown, *lasting);
        let decoded = match self.early.as_mut().and_then(Vec::pop) {
            Some(early) => early,
            None => self.coming.pop_front().ok_or_else(|| wrong("comes before its part"))?,
        };
        if decoded > shown {
            return Err(wrong("comes later than it is shown"));
        }
        Ok(PacketTimes { shown, decoded, lasting })
    }

    /// Ends a part.
    ///
    /// # Errors
    /// [`Kind::Input`] if pictures are missing.
    pub(super) fn end(&self) -> Result<()> {
        match self.part.iter().filter(|(_, _, came)| !came).count() {
            0 => Ok(()),
            missing => Err(Error::new(Kind::Input, format!("holds {missing} pictures less than {}", self.part.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seams: &mut Seams, pictures: &[i64], order: &[usize]) -> Vec<(i64, i64)> {
        seams.begin(pictures.iter().map(|t| (*t, 10))).expect("in order");
        let all = order.iter().map(|n| seams.next(*n).expect("there")).map(|t| (t.shown, t.decoded)).collect();
        seams.end().expect("all there");
        all
    }

    #[test]
    fn parts_are_decoded_as_if_one_encoder_had_coded_them() {
        let mut seams = Seams::new(2, 10);
        let first = times(&mut seams, &[0, 10, 20, 30], &[0, 3, 1, 2]);
        assert_eq!(first, [(0, -20), (30, -10), (10, 0), (20, 10)], "the first part");
        // A longer distance before the second part, whose first picture is decoded at the time of the last but one before it.
        let second = times(&mut seams, &[100, 110], &[0, 1]);
        assert_eq!(second, [(100, 20), (110, 30)], "the second");
        assert_eq!(times(&mut seams, &[120], &[0]), [(120, 100)], "one picture alone");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut seams = Seams::new(0, 10);
        seams.begin([(0, 1), (1, 1), (2, 1)].into_iter()).expect("in order");
        assert_eq!(seams.next(0).expect("the first").decoded, 0, "no delay");
        assert!(seams.next(0).is_err(), "twice");
        assert!(seams.next(3).is_err(), "too many");
        assert!(seams.end().is_err(), "too few");
        assert!(seams.begin([(2, 1)].into_iter()).is_err(), "no later than the one before");
        let mut seams = Seams::new(0, 10);
        seams.begin([(0, 1), (1, 1)].into_iter()).expect("in order");
        seams.next(1).expect("early");
        assert!(seams.next(0).is_err(), "a picture after its time");
    }
}
