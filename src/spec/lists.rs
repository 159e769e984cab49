//! Lists of CPUs and memory nodes as the kernel writes them: `0-3,5`.

/// The largest number a list may hold; more than any kernel is built for.
const MAX: usize = 65_535;

/// A list as a bit mask, lowest number first, 64 a word. Empty text is an empty mask.
pub(crate) fn mask(list: &str) -> Result<Vec<u64>, String> {
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("range {part:?} is the wrong way round"));
        }
        for n in first..=last {
            set(&mut mask, n);
        }
    }
    Ok(mask)
}

fn number(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(n) if digits && n <= MAX => Ok(n),
        Ok(_) if digits => Err(format!("{text} is larger than {MAX}")),
        _ => Err(format!("{text:?} is not a number")),
    }
}

fn set(mask: &mut Vec<u64>, n: usize) {
    let word = n / 64;
    if mask.len() <= word {
        mask.resize(word + 1, 0);
    }
    if let Some(w) = mask.get_mut(word) {
        *w |= 1 << (n % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        assert_eq!(mask("0-3, 5").unwrap(), [0b10_1111]);
        assert_eq!(mask("64").unwrap(), [0, 1]);
        assert_eq!(mask("").unwrap(), [0u64; 0]);
        for bad in ["a", "3-1", "1-", "-1", "99999999", "99999999999999999999999", "+1"] {
            assert!(mask(bad).is_err(), "{bad}");
        }
    }
}
