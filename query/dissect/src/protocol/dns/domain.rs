//! The parts of a name that somebody registered, by the Public Suffix List.

/// A name cut at the border between what a registry hands out and what its owner adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// Public suffix: `co.uk`.
    pub(super) suffix: &'a str,
    /// One label more: `example.co.uk`.
    pub(super) registered: &'a str,
    /// What is before it: `www`.
    pub(super) subdomain: Option<&'a str>,
}

/// Cuts a name; `None` for public suffixes themselves and for what is no name of a host.
pub(super) fn split(name: &str) -> Option<Parts<'_>> {
    let domain = psl::domain(name.as_bytes())?;
    let tail = |len: usize| name.get(name.len().checked_sub(len)?..);
    let registered = tail(domain.as_bytes().len())?;
    let suffix = tail(domain.suffix().as_bytes().len())?;
    let subdomain = name.strip_suffix(registered)?.strip_suffix('.');
    Some(Parts { suffix, registered, subdomain: subdomain.filter(|subdomain| !subdomain.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_where_registries_do() {
        assert_eq!(
            split("www.example.co.uk"),
            Some(Parts { suffix: "co.uk", registered: "example.co.uk", subdomain: Some("www") })
        );
        assert_eq!(
            split("elastic.co"),
            Some(Parts { suffix: "co", registered: "elastic.co", subdomain: None })
        );
        assert_eq!(split("co.uk"), None);
        assert_eq!(split("."), None);
        assert_eq!(split(""), None);
    }
}
