//! The value at a place in the order of many, without sorting them and without asking for memory: all threads look for medians
//! at once, and would wait for each other.

/// Bits of a digit.
const BITS: u32 = 11;
/// Where the digits of a [`key`] end, the highest one first; the last two have a bit in common.
const DIGITS: [u32; 3] = [21, 10, 0];
/// So few values are searched as they are.
const FEW: usize = 256;

/// The value before which `place` of `values` come in their total order; 0 if there are not so many.
///
/// Values are counted by their leading digit, those that share it with the one wanted by the next one, until they are few.
pub(super) fn ranked(values: &[f32], place: usize) -> f32 {
    among(values.iter().copied(), place)
}

/// The middle one of `values`, the higher of two; 0 if there are none.
pub(super) fn median(values: &[f32]) -> f32 {
    ranked(values, values.len() / 2)
}

/// The median of the magnitudes of `values`.
pub(super) fn median_magnitude(values: &[f32]) -> f32 {
    among(values.iter().map(|value| value.abs()), values.len() / 2)
}

fn among(values: impl ExactSizeIterator<Item = f32> + Clone, mut place: usize) -> f32 {
    let mut left = values.len();
    if place >= left {
        return 0.0;
    }
    // The digits that are known of the value wanted, and where they are.
    let (mut known, mut mask) = (0, 0);
    for shift in DIGITS {
        if left <= FEW {
            break;
        }
        let mut counts = [0u32; 1 << BITS];
        let digit = |key: u32| (key >> shift) as usize % (1 << BITS);
        let alike = values.clone().map(key).filter(|key| key & mask == known);
        alike.for_each(|key| counts[digit(key)] += 1);
        let holds = |count: &u32| {
            let found = place < *count as usize;
            place -= if found { 0 } else { *count as usize };
            found
        };
        let Some(found) = counts.iter().position(holds) else { return 0.0 };
        left = counts[found] as usize;
        known |= (found as u32) << shift;
        mask |= ((1 << BITS) - 1) << shift;
    }
    if left > FEW {
        // All of them are the same.
        return value(known);
    }
    let mut few = [0; FEW];
    few.iter_mut().zip(values.map(key).filter(|key| key & mask == known)).for_each(|(to, key)| *to = key);
    value(*few[..left].select_nth_unstable(place).1)
}

/// A number for each value that grows as values do in their total order.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The value of a [`key`].
fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_that_of_sorting() {
        let value = |i: usize| match i % 97 {
            0 => 0.0,
            1 => -0.0,
            2 => f32::INFINITY,
            3 => f32::NAN,
            k => (i as f32 * 0.618).fract() * 10f32.powi(k as i32 % 9 - 4) * if k % 2 == 0 { 1.0 } else { -1.0 },
        };
        for length in [1, 2, 5, 255, 256, 257, 1000, 5000] {
            let values: Vec<f32> = (0..length).map(value).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            for place in [0, 1, length / 5, length / 2, length - 1].into_iter().filter(|place| *place < length) {
                let found = ranked(&values, place);
                assert_eq!(found.to_bits(), sorted[place].to_bits(), "place {place} of {length}");
            }
            assert_eq!(ranked(&values, length), 0.0, "there are {length}");
        }
        assert_eq!((ranked(&vec![2.5; 1000], 700), ranked(&vec![-2.5; 1000], 700)), (2.5, -2.5), "all equal");
        let close: Vec<f32> = (0..5000).map(|i| 1.0 + (i * 37 % 5000) as f32 * f32::EPSILON).collect();
        assert_eq!(ranked(&close, 3000), 1.0 + 3000.0 * f32::EPSILON, "they differ in their last digits");
        assert_eq!((median(&[]), median(&[3.0, 1.0])), (0.0, 3.0));
        assert_eq!((median_magnitude(&[-3.0, 1.0, -2.0]), median_magnitude(&vec![-2.5; 1000])), (2.0, 2.5));
    }
}
