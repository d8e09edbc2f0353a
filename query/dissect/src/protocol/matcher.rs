//! Requests that wait for their responses.

use std::collections::VecDeque;

/// Requests of one conversation that have no response yet, oldest first.
///
/// Protocols whose responses name the request (DNS: id) use that as the key; pipelining protocols, whose responses come in the
/// order of the requests, use `()`.
#[derive(Debug)]
pub struct Matcher<K, R> {
    waiting: VecDeque<Waiting<K, R>>,
    limits: Limits,
    bytes: usize,
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests are given up after this time.
    pub timeout_ns: i64,
    /// Number of requests.
    pub requests_max: usize,
    /// Memory of all requests, in bytes as told to [`Matcher::request`].
    pub bytes_max: usize,
}

impl Limits {
    /// Limits with this timeout and the default sizes: 20,000 requests and 1 MiB, per conversation.
    #[must_use]
    pub fn with_timeout(timeout_ns: i64) -> Self {
        Self { timeout_ns, requests_max: 20_000, bytes_max: 1 << 20 }
    }
}

#[derive(Debug)]
struct Waiting<K, R> {
    key: K,
    since_ns: i64,
    bytes: usize,
    request: R,
}

/// A request that will not be answered any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered<R> {
    /// It waited for too long.
    TimedOut(R),
    /// Another request with the same key came.
    Replaced(R),
    /// Too many, or too large requests were waiting.
    Dropped(R),
}

impl<R> Unanswered<R> {
    /// The request.
    #[must_use]
    pub fn into_request(self) -> R {
        match self {
            Self::TimedOut(request) | Self::Replaced(request) | Self::Dropped(request) => request,
        }
    }
}

impl<K: PartialEq, R> Matcher<K, R> {
    /// Nothing waits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { waiting: VecDeque::new(), limits, bytes: 0 }
    }

    /// A request that is answered in the order of requests. Gives those that had to make room for it.
    pub fn request(&mut self, key: K, now_ns: i64, bytes: usize, request: R) -> Vec<Unanswered<R>> {
        let mut unanswered = self.expired(now_ns);
        self.waiting.push_back(Waiting { key, since_ns: now_ns, bytes, request });
        self.bytes += bytes;
        while self.waiting.len() > self.limits.requests_max
            || (self.bytes > self.limits.bytes_max && self.waiting.len() > 1)
        {
            unanswered.extend(self.remove(0).map(Unanswered::Dropped));
        }
        unanswered
    }

    /// As [`Self::request`], where a later request with the same key takes the place of an earlier one.
    pub fn request_once(&mut self, key: K, now_ns: i64, bytes: usize, request: R) -> Vec<Unanswered<R>> {
        let mut unanswered = self.expired(now_ns);
        if let Some(at) = self.position(&key) {
            unanswered.extend(self.remove(at).map(Unanswered::Replaced));
        }
        unanswered.extend(self.request(key, now_ns, bytes, request));
        unanswered
    }

    /// The oldest request with this key, taken out: the one that a response answers. Ask [`Self::expired`] first.
    pub fn response(&mut self, key: &K) -> Option<R> {
        let at = self.position(key)?;
        self.remove(at)
    }

    /// The request that the next response in order answers.
    #[must_use]
    pub fn oldest(&self) -> Option<&R> {
        self.waiting.front().map(|waiting| &waiting.request)
    }

    /// As [`Self::oldest`], to add to it.
    pub fn oldest_mut(&mut self) -> Option<&mut R> {
        self.waiting.front_mut().map(|waiting| &mut waiting.request)
    }

    /// The request that came last, to add to it.
    pub fn newest_mut(&mut self) -> Option<&mut R> {
        self.waiting.back_mut().map(|waiting| &mut waiting.request)
    }

    /// Takes out what waits for longer than the timeout.
    pub fn expired(&mut self, now_ns: i64) -> Vec<Unanswered<R>> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.waiting.front() {
            if now_ns.saturating_sub(oldest.since_ns) <= self.limits.timeout_ns {
                break;
            }
            expired.extend(self.remove(0).map(Unanswered::TimedOut));
        }
        expired
    }

    /// Takes out everything, oldest first: at the end of a conversation.
    pub fn drain(&mut self) -> Vec<R> {
        self.bytes = 0;
        self.waiting.drain(..).map(|waiting| waiting.request).collect()
    }

    /// Number of requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn position(&self, key: &K) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.key == *key)
    }

    fn remove(&mut self, at: usize) -> Option<R> {
        let removed = self.waiting.remove(at)?;
        self.bytes -= removed.bytes;
        Some(removed.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { timeout_ns: 10, requests_max: 3, bytes_max: 100 };

    #[test]
    fn pipelined_responses_answer_in_order() {
        let mut matcher = Matcher::new(LIMITS);
        assert_eq!(matcher.request((), 0, 1, "a"), []);
        assert_eq!(matcher.request((), 1, 1, "b"), []);
        assert_eq!(matcher.response(&()), Some("a"));
        assert_eq!(matcher.response(&()), Some("b"));
        assert_eq!(matcher.response(&()), None);
    }

    #[test]
    fn keys_find_their_request() {
        let mut matcher = Matcher::new(LIMITS);
        matcher.request_once(1, 0, 1, "a");
        matcher.request_once(2, 0, 1, "b");
        assert_eq!(matcher.response(&2), Some("b"));
        assert_eq!(matcher.request_once(1, 1, 1, "c"), [Unanswered::Replaced("a")]);
        assert_eq!(matcher.response(&1), Some("c"));
    }

    #[test]
    fn the_timeout_is_the_last_moment() {
        let mut matcher = Matcher::new(LIMITS);
        matcher.request((), 0, 1, "a");
        matcher.request((), 5, 1, "b");
        assert_eq!(matcher.expired(10), []);
        assert_eq!(matcher.expired(11), [Unanswered::TimedOut("a")]);
        assert_eq!(matcher.drain(), ["b"]);
        assert!(matcher.is_empty());
    }

    #[test]
    fn limits_drop_the_oldest() {
        let mut matcher = Matcher::new(LIMITS);
        for name in ["a", "b", "c"] {
            assert_eq!(matcher.request((), 0, 1, name), []);
        }
        assert_eq!(matcher.request((), 0, 1, "d"), [Unanswered::Dropped("a")]);
        assert_eq!(matcher.request((), 0, 99, "e"), [Unanswered::Dropped("b"), Unanswered::Dropped("c")]);
        // One request alone may be larger than the limit: it is already in memory.
        assert_eq!(matcher.request((), 0, 1000, "f"), [Unanswered::Dropped("d"), Unanswered::Dropped("e")]);
        assert_eq!(matcher.response(&()), Some("f"));
        assert_eq!(matcher.request((), 0, 100, "g"), []);
    }
}
