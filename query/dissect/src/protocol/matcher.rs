//! Requests that wait for their responses.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Places up to which requests are looked for one after the other: most conversations never have more.
const PLACES_SEARCHED_MAX: usize = 16;

/// Requests of one conversation that have no response yet, oldest first.
///
/// Protocols whose responses name the request (DNS: id) use that as the key; pipelining protocols, whose responses come in the
/// order of the requests, use `()`.
#[derive(Debug)]
pub struct Matcher<K, R> {
    /// In the order of their numbers. What was answered leaves its place empty, save the first.
    places: VecDeque<Place<K, R>>,
    /// How many of the places have a request.
    len: usize,
    /// The number that the next request gets.
    next_number: u64,
    /// The oldest and the newest request of each key, once there are so many that it pays.
    by_key: Option<HashMap<K, Numbers>>,
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
struct Place<K, R> {
    number: u64,
    key: K,
    since_ns: i64,
    bytes: usize,
    /// `None` when it was answered.
    request: Option<R>,
    /// The next request with the same key. Kept only together with [`Matcher::by_key`].
    next_same: Option<u64>,
}

/// Of the requests with one key.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    oldest: u64,
    newest: u64,
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

impl<K: Eq + Hash + Clone, R> Matcher<K, R> {
    /// Nothing waits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { places: VecDeque::new(), len: 0, next_number: 0, by_key: None, limits, bytes: 0 }
    }

    /// A request that is answered in the order of requests. Gives those that had to make room for it.
    pub fn request(&mut self, key: K, now_ns: i64, bytes: usize, request: R) -> Vec<Unanswered<R>> {
        let mut unanswered = self.expired(now_ns);
        self.insert(key, now_ns, bytes, request);
        while self.len > self.limits.requests_max || (self.bytes > self.limits.bytes_max && self.len > 1) {
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
        self.places.front()?.request.as_ref()
    }

    /// As [`Self::oldest`], to add to it.
    pub fn oldest_mut(&mut self) -> Option<&mut R> {
        self.places.front_mut()?.request.as_mut()
    }

    /// The request that came last, to add to it.
    pub fn newest_mut(&mut self) -> Option<&mut R> {
        self.places.iter_mut().rev().find_map(|place| place.request.as_mut())
    }

    /// Takes out what waits for longer than the timeout.
    pub fn expired(&mut self, now_ns: i64) -> Vec<Unanswered<R>> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.places.front() {
            if now_ns.saturating_sub(oldest.since_ns) <= self.limits.timeout_ns {
                break;
            }
            expired.extend(self.remove(0).map(Unanswered::TimedOut));
        }
        expired
    }

    /// Takes out everything, oldest first: at the end of a conversation.
    pub fn drain(&mut self) -> Vec<R> {
        (self.len, self.bytes, self.by_key) = (0, 0, None);
        self.places.drain(..).filter_map(|place| place.request).collect()
    }

    /// Number of requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn insert(&mut self, key: K, since_ns: i64, bytes: usize, request: R) {
        let number = self.next_number;
        self.next_number += 1;
        self.len += 1;
        self.bytes += bytes;
        let indexed = self.by_key.is_some().then(|| key.clone());
        self.places.push_back(Place {
            number,
            key,
            since_ns,
            bytes,
            request: Some(request),
            next_same: None,
        });
        if let Some(key) = indexed {
            self.index(key, number);
        } else if self.places.len() > PLACES_SEARCHED_MAX {
            self.by_key = Some(HashMap::new());
            let waiting: Vec<_> = (self.places.iter().filter(|place| place.request.is_some()))
                .map(|place| (place.key.clone(), place.number))
                .collect();
            waiting.into_iter().for_each(|(key, number)| self.index(key, number));
        }
    }

    /// Notes the newest request with a key.
    fn index(&mut self, key: K, number: u64) {
        let Some(by_key) = &mut self.by_key else { return };
        let numbers = by_key.entry(key).or_insert(Numbers { oldest: number, newest: number });
        let before = std::mem::replace(&mut numbers.newest, number);
        if before != number
            && let Some(at) = self.place(before)
        {
            self.places[at].next_same = Some(number);
        }
    }

    /// Where the request of this number is.
    fn place(&self, number: u64) -> Option<usize> {
        self.places.binary_search_by_key(&number, |place| place.number).ok()
    }

    /// The oldest request with this key.
    fn position(&self, key: &K) -> Option<usize> {
        match &self.by_key {
            Some(by_key) => self.place(by_key.get(key)?.oldest),
            None => self.places.iter().position(|place| place.request.is_some() && place.key == *key),
        }
    }

    /// Takes the oldest request with its key out.
    fn remove(&mut self, at: usize) -> Option<R> {
        let place = self.places.get_mut(at)?;
        let request = place.request.take()?;
        self.len -= 1;
        self.bytes -= place.bytes;
        if let Some(by_key) = &mut self.by_key {
            match (place.next_same, by_key.get_mut(&place.key)) {
                (Some(next), Some(numbers)) => numbers.oldest = next,
                _ => {
                    by_key.remove(&place.key);
                }
            }
        }
        self.tidy();
        Some(request)
    }

    /// Gives up empty places: the first ones, and all others once they are the most.
    fn tidy(&mut self) {
        while self.places.front().is_some_and(|place| place.request.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > PLACES_SEARCHED_MAX.max(2 * self.len) {
            self.places.retain(|place| place.request.is_some());
        }
        if self.places.is_empty() {
            self.by_key = None;
        }
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

    /// What a matcher does, written down plainly.
    #[derive(Default)]
    struct Plain(Vec<(u8, i64, u32)>);

    impl Plain {
        fn take(&mut self, key: u8) -> Option<u32> {
            let at = self.0.iter().position(|waiting| waiting.0 == key)?;
            Some(self.0.remove(at).2)
        }
    }

    #[test]
    fn many_requests_are_answered_as_few_are() {
        let limits = Limits { timeout_ns: 3_000, requests_max: 500, bytes_max: usize::MAX };
        for once in [true, false] {
            let (mut matcher, mut plain) = (Matcher::new(limits), Plain::default());
            let mut random = 1_u32;
            for number in 0..20_000_u32 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (key, now_ns) = ((random >> 16 & 0xff) as u8, i64::from(number));
                // Requests are the most in one half of the time, responses in the other.
                let is_request = (random >> 24) % 4 < if number / 2_000 % 2 == 0 { 3 } else { 1 };
                let mut expected = Vec::new();
                while plain.0.first().is_some_and(|waiting| now_ns - waiting.1 > limits.timeout_ns) {
                    expected.push(Unanswered::TimedOut(plain.0.remove(0).2));
                }
                if is_request {
                    if once {
                        expected.extend(plain.take(key).map(Unanswered::Replaced));
                    }
                    plain.0.push((key, now_ns, number));
                    while plain.0.len() > limits.requests_max {
                        expected.push(Unanswered::Dropped(plain.0.remove(0).2));
                    }
                    let found = match once {
                        true => matcher.request_once(key, now_ns, 1, number),
                        false => matcher.request(key, now_ns, 1, number),
                    };
                    assert_eq!(found, expected);
                } else {
                    assert_eq!(matcher.expired(now_ns), expected);
                    assert_eq!(matcher.response(&key), plain.take(key));
                }
                assert_eq!((matcher.len(), matcher.bytes), (plain.0.len(), plain.0.len()));
                assert_eq!(matcher.oldest(), plain.0.first().map(|waiting| &waiting.2));
                assert_eq!(matcher.newest_mut().copied(), plain.0.last().map(|waiting| waiting.2));
                assert!(matcher.places.len() <= PLACES_SEARCHED_MAX.max(2 * matcher.len() + 1));
            }
            assert!(matcher.len() > PLACES_SEARCHED_MAX);
            assert_eq!(matcher.drain(), plain.0.iter().map(|waiting| waiting.2).collect::<Vec<_>>());
        }
    }
}
