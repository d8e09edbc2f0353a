//! From time since boot to wall time and back.

use crate::proto::ClockSample;

/// Converts times of one boot, piecewise linear between clock samples: steps and slewing of the wall clock are
/// followed to the accuracy of the samples' distance. Before the first and after the last sample the clock is taken to
/// run at the rate of nanoseconds since boot.
#[derive(Clone, Debug, Default)]
pub struct ClockMap {
    /// Sorted by `boot_ns`, which is never the same twice.
    points: Vec<Point>,
    /// The earliest and the latest wall time of each [`CHUNK_POINTS`] points, the last of which may be fewer.
    chunks: Vec<(i64, i64)>,
    error_ns: u64,
}

/// Points that are looked at together: near the square root of as many as a segment has, so that a look at all costs that much
/// at most, for each block that is asked for.
const CHUNK_POINTS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Point {
    boot_ns: u64,
    realtime_ns: i64,
}

impl ClockMap {
    /// Makes the map of these samples, which may come in any order.
    #[must_use]
    pub fn from_samples(samples: &[ClockSample]) -> Self {
        let mut map = Self::default();
        map.push(samples);
        map.finish();
        map
    }

    /// Adds samples. [`Self::finish`] must follow.
    pub(crate) fn push(&mut self, samples: &[ClockSample]) {
        let error_of =
            |sample: &ClockSample| sample.boot_after_ns.saturating_sub(sample.boot_before_ns).div_ceil(2);
        self.points.extend(samples.iter().map(|sample| Point {
            boot_ns: sample.boot_before_ns.saturating_add(error_of(sample)),
            realtime_ns: i64::try_from(sample.realtime_ns).unwrap_or(i64::MAX),
        }));
        self.error_ns = samples.iter().map(error_of).fold(self.error_ns, u64::max);
    }

    /// Makes a map of what was pushed.
    pub(crate) fn finish(&mut self) {
        self.points.sort_by_key(|point| point.boot_ns);
        self.points.dedup_by_key(|point| point.boot_ns);
        self.points.shrink_to_fit();
        self.chunks = self.points.chunks(CHUNK_POINTS).map(|points| extremes_of(points.iter())).collect();
    }

    /// Nanoseconds since 1970-01-01T00:00:00 UTC at a time since boot; times before are 0, so that the difference of any two
    /// is a number as well. Without any sample, the time since boot.
    #[must_use]
    pub fn realtime_ns(&self, boot_ns: u64) -> i64 {
        let after = self.points.partition_point(|point| point.boot_ns <= boot_ns);
        let (from, to) = self.around(after);
        let Some(from) = from else { return wall_time(i128::from(boot_ns)) };
        let past = i128::from(boot_ns) - i128::from(from.boot_ns);
        let moved = match to {
            None => past,
            Some(to) => {
                let boot_span = i128::from(to.boot_ns) - i128::from(from.boot_ns);
                (past * (i128::from(to.realtime_ns) - i128::from(from.realtime_ns))).div_euclid(boot_span)
            }
        };
        wall_time(i128::from(from.realtime_ns) + moved)
    }

    /// The earliest and the latest wall time that the clock showed between two times since boot, both included. Where it
    /// was set back in between, they are not the times at the ends.
    #[must_use]
    pub fn range(&self, first_ns: u64, last_ns: u64) -> (i64, i64) {
        let (first_ns, last_ns) = (first_ns.min(last_ns), first_ns.max(last_ns));
        let (first, last) = (self.realtime_ns(first_ns), self.realtime_ns(last_ns));
        let begin = self.points.partition_point(|point| point.boot_ns <= first_ns);
        let end = self.points.partition_point(|point| point.boot_ns < last_ns);
        let (earliest, latest) = self.extremes(begin, end.max(begin));
        (first.min(last).min(earliest), first.max(last).max(latest))
    }

    /// The earliest and the latest wall time of the points from `begin` up to `end`.
    fn extremes(&self, begin: usize, end: usize) -> (i64, i64) {
        let (first_chunk, end_chunk) = (begin.div_ceil(CHUNK_POINTS), end / CHUNK_POINTS);
        if first_chunk >= end_chunk {
            return extremes_of(self.points[begin..end].iter());
        }
        let before = &self.points[begin..first_chunk * CHUNK_POINTS];
        let behind = &self.points[end_chunk * CHUNK_POINTS..end];
        let beside = extremes_of(before.iter().chain(behind));
        self.chunks[first_chunk..end_chunk]
            .iter()
            .fold(beside, |(earliest, latest), chunk| (earliest.min(chunk.0), latest.max(chunk.1)))
    }

    /// Nanoseconds since boot at a wall time, the inverse of [`Self::realtime_ns`]. Where the wall clock was set back
    /// and showed a time twice, the first of both. Wall times before the boot give 0.
    #[must_use]
    pub fn boot_ns(&self, realtime_ns: i64) -> u64 {
        let shows = |pair: &[Point]| {
            let (a, b) = (pair[0].realtime_ns, pair[1].realtime_ns);
            (a.min(b)..=a.max(b)).contains(&realtime_ns)
        };
        let between = self.points.windows(2).find(|pair| shows(pair));
        let (from, to) = match between {
            Some(pair) => (Some(pair[0]), Some(pair[1])),
            None if self.points.first().is_some_and(|first| realtime_ns < first.realtime_ns) => {
                (self.points.first().copied(), None)
            }
            None => (self.points.last().copied(), None),
        };
        let Some(from) = from else { return u64::try_from(realtime_ns).unwrap_or(0) };
        let past = i128::from(realtime_ns) - i128::from(from.realtime_ns);
        let moved = match to {
            Some(to) if to.realtime_ns != from.realtime_ns => {
                let wall_span = i128::from(to.realtime_ns) - i128::from(from.realtime_ns);
                past * (i128::from(to.boot_ns) - i128::from(from.boot_ns)) / wall_span
            }
            _ => past,
        };
        let boot = i128::from(from.boot_ns) + moved;
        u64::try_from(boot.max(0)).unwrap_or(u64::MAX)
    }

    /// How far a conversion can be off at a sample: half of the longest time that reading the clocks took.
    #[must_use]
    pub fn error_ns(&self) -> u64 {
        self.error_ns
    }

    /// True when there is no sample, so that times stay those since boot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The samples before and after a place in `points`; only one when it is outside of all.
    fn around(&self, after: usize) -> (Option<Point>, Option<Point>) {
        match after.checked_sub(1) {
            None => (self.points.first().copied(), None),
            Some(before) => (self.points.get(before).copied(), self.points.get(after).copied()),
        }
    }
}

/// The earliest and the latest wall time of points; the wrong way round where there is none.
fn extremes_of<'a>(points: impl Iterator<Item = &'a Point>) -> (i64, i64) {
    points.fold((i64::MAX, i64::MIN), |(earliest, latest), point| {
        (earliest.min(point.realtime_ns), latest.max(point.realtime_ns))
    })
}

fn wall_time(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds.max(0)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(boot_ns: u64, realtime_ns: u64) -> ClockSample {
        ClockSample { boot_before_ns: boot_ns, boot_after_ns: boot_ns, realtime_ns, ..ClockSample::default() }
    }

    #[test]
    fn between_samples_it_is_linear_and_outside_it_goes_on_at_the_same_rate() {
        let map = ClockMap::from_samples(&[sample(2_000, 1_002_200), sample(1_000, 1_001_000)]);
        assert_eq!(map.realtime_ns(1_000), 1_001_000);
        assert_eq!(map.realtime_ns(1_500), 1_001_600);
        assert_eq!(map.realtime_ns(2_000), 1_002_200);
        assert_eq!(map.realtime_ns(2_010), 1_002_210);
        assert_eq!(map.realtime_ns(900), 1_000_900);
        for boot_ns in [0, 900, 1_000, 1_500, 2_000, 2_010] {
            assert_eq!(map.boot_ns(map.realtime_ns(boot_ns)), boot_ns);
        }
    }

    #[test]
    fn a_sample_stands_for_the_middle_of_its_bracket() {
        let bracket = ClockSample {
            boot_before_ns: 100,
            boot_after_ns: 140,
            realtime_ns: 5_000,
            ..ClockSample::default()
        };
        let map = ClockMap::from_samples(&[bracket]);
        assert_eq!(map.realtime_ns(120), 5_000);
        assert_eq!(map.error_ns(), 20);
    }

    #[test]
    fn a_clock_set_back_and_hostile_samples_do_not_panic() {
        let back = ClockMap::from_samples(&[sample(1_000, 9_000), sample(2_000, 4_000)]);
        assert_eq!(back.realtime_ns(1_500), 6_500);
        assert_eq!(back.boot_ns(6_500), 1_500);
        assert_eq!(back.realtime_ns(back.boot_ns(9_100)), 9_100);
        let wild =
            ClockSample { boot_before_ns: u64::MAX, boot_after_ns: 0, realtime_ns: u64::MAX, ..sample(0, 0) };
        let map = ClockMap::from_samples(&[wild, sample(0, 0), sample(0, u64::MAX)]);
        for time in [0, 1, u64::MAX] {
            assert!(map.realtime_ns(time) >= 0);
            assert!(map.boot_ns(-1 - (time >> 1) as i64) == 0);
        }
    }

    #[test]
    fn no_wall_time_is_before_1970() {
        // Half of the time since boot lies before the one sample: what its clock showed then was before 1970.
        let map = ClockMap::from_samples(&[sample(u64::MAX, 1_000)]);
        for boot_ns in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!((0..=1_000).contains(&map.realtime_ns(boot_ns)), "{boot_ns}");
        }
        assert_eq!(map.range(0, u64::MAX), (0, 1_000));
        assert_eq!(map.realtime_ns(u64::MAX) - map.realtime_ns(0), 1_000);
        let steep = ClockMap::from_samples(&[sample(10, u64::MAX), sample(11, 0)]);
        assert_eq!((steep.realtime_ns(0), steep.realtime_ns(u64::MAX)), (i64::MAX - 10, i64::MAX));
    }

    #[test]
    fn a_range_holds_every_time_that_the_clock_showed() {
        // Set back by 6 µs, and later forward by as much.
        let map = ClockMap::from_samples(&[
            sample(1_000, 10_000),
            sample(2_000, 11_000),
            sample(2_001, 5_000),
            sample(3_000, 5_999),
            sample(3_001, 12_000),
        ]);
        assert_eq!(map.range(1_200, 1_800), (10_200, 10_800));
        assert_eq!(map.range(1_500, 3_500), (5_000, 12_499));
        assert_eq!(map.range(1_500, 2_500), (5_000, 11_000));
        assert_eq!(map.range(2_500, 1_500), (5_000, 11_000));
        for (first, last) in [(0, 4_000), (1_999, 2_002), (2_001, 3_001)] {
            let (earliest, latest) = map.range(first, last);
            for time in first..=last {
                assert!((earliest..=latest).contains(&map.realtime_ns(time)), "{time} in {first}..={last}");
            }
        }
        assert_eq!(ClockMap::default().range(5, 7), (5, 7));
    }

    #[test]
    fn ranges_are_those_that_a_look_at_every_point_finds() {
        let mut random = crate::testing::Random(5);
        for count in [0, 1, 255, 256, 257, 3_000] {
            let samples: Vec<_> =
                (0..count).map(|at| sample(at * 10, 1_000_000 + random.below(1_000))).collect();
            let map = ClockMap::from_samples(&samples);
            for _ in 0..300 {
                let [one, other] = [(); 2].map(|()| random.below(10 * count + 50));
                let (first, last) = (one.min(other), one.max(other));
                let inside = samples.iter().filter(|sample| (first..=last).contains(&sample.boot_before_ns));
                let mut shown: Vec<i64> = inside.map(|sample| sample.realtime_ns as i64).collect();
                shown.extend([map.realtime_ns(first), map.realtime_ns(last)]);
                let expected = (*shown.iter().min().unwrap(), *shown.iter().max().unwrap());
                assert_eq!(map.range(one, other), expected, "{first}..={last} of {count}");
            }
        }
    }

    #[test]
    fn without_samples_time_is_that_since_boot() {
        let map = ClockMap::default();
        assert!(map.is_empty());
        assert_eq!(map.realtime_ns(77), 77);
        assert_eq!(map.boot_ns(77), 77);
        assert_eq!(map.boot_ns(-1), 0);
    }
}
