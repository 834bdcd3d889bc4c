//! Between two checkpoints of one network: network interpolation (Wang et al. 2018, arXiv:1809.00219, section 3.4).
//!
//! Weights are mixed, not pictures: the result costs what one network costs.

use super::{Checkpoint, Format, Tensor};
use crate::error::{Error, Kind, Result};

/// Names listed in a message.
const LISTED: usize = 4;

impl Checkpoint {
    /// Every weight `(1 - share)` of this one and `share` of the `other`'s.
    ///
    /// # Errors
    /// [`Kind::Usage`] if `share` is not a number from 0 to 1; [`Kind::Input`] if the tensors have other names or shapes, with
    /// the first of them.
    pub fn blended(&self, other: &Self, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::new(Kind::Usage, format!("share {share} is not 0 to 1")));
        }
        let shape = |of: &Self, name: &str| of.tensors.get(name).map(|tensor| tensor.shape.clone());
        let names = self.tensors.keys().chain(other.tensors.keys());
        let mut unlike: Vec<&str> =
            names.map(String::as_str).filter(|name| shape(self, name) != shape(other, name)).collect();
        unlike.sort_unstable();
        unlike.dedup();
        if !unlike.is_empty() {
            let first = unlike[..unlike.len().min(LISTED)].join(", ");
            let message = format!("not of one network: {} tensors differ in name or shape, {first}", unlike.len());
            return Err(Error::new(Kind::Input, message));
        }
        let mixed = |(name, a): (&String, &Tensor)| {
            let mix = |(a, b): (&f32, &f32)| ((1.0 - share) * f64::from(*a) + share * f64::from(*b)) as f32;
            let values = a.values.iter().zip(&other.tensors[name].values).map(mix).collect();
            (name.clone(), Tensor { shape: a.shape.clone(), stored: a.stored, values })
        };
        Ok(Self { tensors: self.tensors.iter().map(mixed).collect(), format: Format::Safetensors })
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::*;
    use std::collections::BTreeMap;

    fn checkpoint(values: &[f32], name: &str) -> Checkpoint {
        let tensor = Tensor { shape: vec![values.len()], stored: DType::F32, values: values.to_vec() };
        Checkpoint { tensors: BTreeMap::from([(name.to_owned(), tensor)]), format: Format::TorchZip }
    }

    #[test]
    fn the_ends_are_the_networks_themselves_and_the_middle_is_their_mean() {
        let (a, b) = (checkpoint(&[1.0, -3.0], "w"), checkpoint(&[2.0, 5.0], "w"));
        let of = |share: f64| a.blended(&b, share).expect("blended").tensors["w"].values.clone();
        assert_eq!((of(0.0), of(0.5), of(1.0)), (vec![1.0, -3.0], vec![1.5, 1.0], vec![2.0, 5.0]));
    }

    #[test]
    fn other_networks_and_shares_are_refused() {
        let a = checkpoint(&[1.0], "w");
        for other in [checkpoint(&[1.0, 2.0], "w"), checkpoint(&[1.0], "v")] {
            let error = a.blended(&other, 0.5).expect_err("unlike");
            assert_eq!(error.kind(), Kind::Input, "{error}");
            assert!(error.to_string().contains('w'), "{error}");
        }
        for share in [-0.1, 1.1, f64::NAN] {
            assert_eq!(a.blended(&a, share).expect_err("share").kind(), Kind::Usage);
        }
    }
}
