//! The name that somebody may have meant.

/// Changes between a name and the one that was meant, at most: a third of its letters.
const CHANGED_PART: usize = 3;

/// The known name that is most like `name`, if one is.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|candidate| (distance(name, candidate), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= candidate.chars().count().div_ceil(CHANGED_PART)).then_some(candidate)
}

/// Letters to put in, take out, replace or swap with their neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // A long name is like none; what follows takes time by the product of both lengths.
    if one.len() > 2 * other.len() + 1 {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, expected) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != expected);
            let mut least = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let is_swap = row > 0 && column > 0 && one[row - 1] == *expected && other[column - 1] == *letter;
            if is_swap {
                least = least.min(before_last[column - 1] + 1);
            }
            current.push(least);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
        for (one, other, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("ab", "ba", 1),
            ("name", "nmae", 1),
            ("abc", "axcd", 2),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
        assert_eq!(distance(&"x".repeat(1 << 20), "name"), usize::MAX);
    }

    #[test]
    fn only_what_is_like_it_is_suggested() {
        let known = ["process.name", "process.pid", "pod.name"];
        assert_eq!(nearest("process.nmae", known), Some("process.name"));
        assert_eq!(nearest("pod_name", known), Some("pod.name"));
        assert_eq!(nearest("color", known), None);
        assert_eq!(nearest("process.pdi", known), Some("process.pid"));
    }
}
