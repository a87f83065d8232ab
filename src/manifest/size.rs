//! Sizes in bytes: `512`, `"64KiB"`, `"1GiB"`. Powers of two only, and said so.

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// `"64MiB"`; the unit must be there.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = if unit == "B" { 0 } else { UNITS.iter().find(|(word, _)| *word == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `64M`, `64MB`, `64mib` and `64 MiB` were meant so: `64MiB`.
pub(super) fn meant(text: &str) -> Option<String> {
    let (number, unit) = split(text)?;
    let first = unit.chars().next()?.to_ascii_uppercase();
    let known = ["", "b", "ib"].contains(&unit[1..].to_ascii_lowercase().as_str());
    let (unit, _) = UNITS.iter().find(|(word, _)| word.starts_with(first) && known)?;
    Some(format!("{number}{unit}"))
}

/// The largest unit that is exact.
pub(super) fn show(bytes: u64) -> String {
    let exact = UNITS.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    exact.map_or_else(|| format!("{bytes}B"), |(word, shift)| format!("{}{word}", bytes >> shift))
}

fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).filter(|end| *end > 0)?;
    let unit = text[end..].trim();
    unit.is_ascii().then_some((&text[..end], unit)).filter(|(_, unit)| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("1KiB", 1 << 10), ("1536MiB", 1536 << 20), ("8TiB", 8 << 40)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
            assert_eq!(show(bytes), text);
        }
        assert_eq!(parse("16777216TiB"), None, "more than 64 bits");
    }

    #[test]
    fn other_spellings_are_understood_but_not_taken() {
        for (text, ours) in [("64M", "64MiB"), ("64MB", "64MiB"), ("1gib", "1GiB"), ("8k", "8KiB"), ("2tb", "2TiB")] {
            assert_eq!((parse(text), meant(text).as_deref()), (None, Some(ours)));
        }
        for text in ["", "MiB", "64", "1.5GiB", "64 parsecs", "64é", "-1KiB", "64MiBs"] {
            assert_eq!((parse(text), meant(text)), (None, None), "{text}");
        }
    }
}
