//! Sizes at which Fourier transforms are fast.

/// The smallest `2^a 3^b 5^c` that is at least `n`.
pub(crate) fn fast_size(n: usize) -> usize {
    let smooth = |n: usize| {
        let mut rest = n;
        for prime in [2, 3, 5] {
            while rest.is_multiple_of(prime) {
                rest /= prime;
            }
        }
        rest == 1
    };
    (n.max(1)..).find(|&n| smooth(n)).unwrap_or(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_sizes_have_no_prime_above_five() {
        let got: Vec<usize> = [0, 1, 7, 11, 13, 127, 263, 541].map(fast_size).to_vec();
        assert_eq!(got, [1, 1, 8, 12, 15, 128, 270, 576], "next sizes");
    }
}
