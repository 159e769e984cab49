//! The weights of cgroup v1 as those of cgroup2.

/// `cpu.shares` (2…262144) as `cpu.weight` (1…10000): a curve through
/// (2, 1), (1024, 100) and (262144, 10000), quadratic in the logarithms.
pub(crate) fn cpu(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // Rounded up, but not because of the last bit of a float: 1024 is 100.
            (10f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

/// `blkio.weight` (10…1000) as `io.weight` (1…10000).
pub(crate) fn io(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points() {
        for (shares, weight) in [(0, 1), (1, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(cpu(shares), weight, "{shares}");
        }
        assert_eq!([io(10), io(100), io(500), io(1000)], [1, 910, 4950, 10_000]);
    }

    #[test]
    fn more_shares_are_never_less_weight() {
        let weights: Vec<_> = (0..=262_144).step_by(64).map(cpu).collect();
        assert!(weights.is_sorted());
        assert!(weights.iter().all(|w| (1..=10_000).contains(w)));
    }
}
