//! The value at a place in the order of many, without sorting them.

/// Leading bits by which values are counted: sign, exponent and two of the fraction.
const BITS: u32 = 11;
/// So few values are searched as they are.
const FEW: usize = 256;

/// The value before which `place` of `values` come in their total order; 0 if there are not so many.
///
/// Values are counted by their leading bits, and only those that share them with the one wanted are compared.
pub(super) fn ranked(values: &[f32], place: usize) -> f32 {
    if values.len() <= FEW {
        return of_few(values.to_vec(), place);
    }
    let mut counts = [0u32; 1 << BITS];
    for value in values {
        counts[leading(*value)] += 1;
    }
    let mut before = 0;
    let holds = |count: &u32| {
        let found = place < before + *count as usize;
        before += if found { 0 } else { *count as usize };
        found
    };
    match counts.iter().position(holds) {
        Some(bin) => of_few(values.iter().copied().filter(|value| leading(*value) == bin).collect(), place - before),
        None => 0.0,
    }
}

/// The middle one of `values`, the higher of two; 0 if there are none.
pub(super) fn median(values: &[f32]) -> f32 {
    ranked(values, values.len() / 2)
}

fn of_few(mut values: Vec<f32>, place: usize) -> f32 {
    if place < values.len() { *values.select_nth_unstable_by(place, f32::total_cmp).1 } else { 0.0 }
}

/// The leading bits of a value, in the total order.
fn leading(value: f32) -> usize {
    let bits = value.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> (u32::BITS - BITS)) as usize
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
        assert_eq!(ranked(&vec![2.5; 1000], 700), 2.5, "all equal");
        assert_eq!((median(&[]), median(&[3.0, 1.0])), (0.0, 3.0));
    }
}
