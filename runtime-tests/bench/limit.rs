//! The smallest memory limit that a container still starts with.

/// Limits tried are multiples of this many KiB.
const STEP: u64 = 32;
/// More than this, in KiB, nobody needs.
const MOST: u64 = 16 * 1024;
/// It has to go well so many times in a row.
const TIMES: usize = 3;

/// That limit in KiB, where `starts` says whether so many are enough; `None`
/// when nothing is.
pub fn least(starts: impl Fn(u64) -> Result<bool, String>) -> Result<Option<u64>, String> {
    let enough = |steps| {
        for _ in 0..TIMES {
            if !starts(steps * STEP)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    search(MOST / STEP, enough).map(|steps| steps.map(|n| n * STEP))
}

/// The smallest number up to `most` that is enough, if one is; found by halving.
fn search(most: u64, enough: impl Fn(u64) -> Result<bool, String>) -> Result<Option<u64>, String> {
    if !enough(most)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if enough(middle)? { high = middle } else { low = middle }
    }
    Ok(Some(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_the_edge() {
        for edge in 1..=64 {
            assert_eq!(search(64, |n| Ok(n >= edge)), Ok(Some(edge)));
        }
        assert_eq!(search(64, |_| Ok(false)), Ok(None));
        assert_eq!(search(64, |_| Err("no".to_owned())), Err("no".to_owned()));
    }
}
