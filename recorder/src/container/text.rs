//! Limits of what runtimes say: names, labels and annotations may be of any length, and a recording's memory may not.

use std::collections::BTreeMap;

/// Most bytes of a name, an image or an id.
pub(crate) const NAME_LEN_MAX: usize = 1024;
/// Most bytes of a label's or an annotation's value. Annotations may be 256 KiB (`TotalAnnotationSizeLimitB` of
/// Kubernetes), mostly of configuration that was applied.
pub(crate) const VALUE_LEN_MAX: usize = 4096;
/// Most bytes of all labels of something together, and the same of annotations.
pub(crate) const LABELS_LEN_MAX: usize = 16 << 10;

/// Shortens what is too long, and counts what was left out.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Bytes that were left out.
    pub(crate) truncated: u64,
}

impl Limiter {
    /// At most [`NAME_LEN_MAX`] bytes of `text`.
    pub(crate) fn name(&mut self, text: String) -> String {
        self.shorten(text, NAME_LEN_MAX)
    }

    /// As many labels as there is room for, in the order of their keys. One that doesn't fit is left out whole, but its
    /// value alone is shortened.
    pub(crate) fn labels(
        &mut self,
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> BTreeMap<String, String> {
        let mut all: Vec<(String, String)> = labels.into_iter().collect();
        all.sort_unstable();
        let mut kept = BTreeMap::new();
        let mut left = LABELS_LEN_MAX;
        for (key, value) in all {
            if key.len() > NAME_LEN_MAX || key.len() + value.len().min(VALUE_LEN_MAX) > left {
                self.truncated += (key.len() + value.len()) as u64;
                continue;
            }
            let value = self.shorten(value, VALUE_LEN_MAX);
            left -= key.len() + value.len();
            kept.insert(key, value);
        }
        kept
    }

    fn shorten(&mut self, mut text: String, len_max: usize) -> String {
        if text.len() > len_max {
            let end = text.floor_char_boundary(len_max);
            self.truncated += (text.len() - end) as u64;
            text.truncate(end);
            text.shrink_to_fit();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_counted() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.name("short".to_owned()), "short");
        assert_eq!(limiter.truncated, 0);
        let name = limiter.name("é".repeat(NAME_LEN_MAX));
        assert_eq!((name.len(), limiter.truncated), (NAME_LEN_MAX, NAME_LEN_MAX as u64));
        let odd = limiter.name(format!("x{}", "é".repeat(NAME_LEN_MAX)));
        assert_eq!(odd.len(), NAME_LEN_MAX - 1);
    }

    #[test]
    fn labels_are_kept_as_far_as_there_is_room() {
        let mut limiter = Limiter::default();
        let label = |index: usize, len: usize| (format!("key-{index:04}"), "v".repeat(len));
        let many: Vec<_> = (0..1000).map(|index| label(index, 100)).collect();
        let kept = limiter.labels(many.clone());
        assert_eq!(kept.len(), LABELS_LEN_MAX / 108);
        assert_eq!(limiter.truncated, ((1000 - kept.len()) * 108) as u64);
        assert_eq!(kept.first_key_value(), Some((&many[0].0, &many[0].1)));

        let mut limiter = Limiter::default();
        let kept =
            limiter.labels([label(0, VALUE_LEN_MAX + 5), ("k".repeat(NAME_LEN_MAX + 1), String::new())]);
        assert_eq!(kept.values().map(String::len).collect::<Vec<_>>(), [VALUE_LEN_MAX]);
        assert_eq!(limiter.truncated, 5 + NAME_LEN_MAX as u64 + 1);
    }
}
