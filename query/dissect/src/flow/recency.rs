//! Which flows were silent longest: lists through the flows' slots, moved in constant time.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Kinds of flows, by how long their silence may last. In the order in which they are given up when there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Class {
    /// A TCP connection that both sides ended, or one reset.
    Closed,
    /// One that only one side has spoken on.
    #[default]
    HalfOpen,
    /// Anything but TCP.
    Datagrams,
    /// A TCP connection that both sides speak on.
    Open,
}

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Datagrams, Self::Open];
}

/// A slot's neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) class: Class,
    before: u32,
    after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { class: Class::default(), before: NONE, after: NONE }
    }
}

/// First and last slot of each class.
#[derive(Debug)]
pub(super) struct Recency {
    ends: [(u32, u32); 4],
    links: Vec<Links>,
}

impl Default for Recency {
    fn default() -> Self {
        Self { ends: [(NONE, NONE); 4], links: Vec::new() }
    }
}

impl Recency {
    /// The slot of a class that was silent longest.
    pub(super) fn oldest(&self, class: Class) -> Option<u32> {
        let (first, _) = self.ends[class as usize];
        (first != NONE).then_some(first)
    }

    /// Adds a slot as the one that spoke last.
    pub(super) fn push(&mut self, slot: u32, class: Class) {
        let index = slot as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Links::default());
        }
        let ends = &mut self.ends[class as usize];
        let last = std::mem::replace(&mut ends.1, slot);
        if last == NONE {
            ends.0 = slot;
        } else {
            self.links[last as usize].after = slot;
        }
        self.links[index] = Links { class, before: last, after: NONE };
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, slot: u32) {
        let Links { class, before, after } = std::mem::take(&mut self.links[slot as usize]);
        let ends = &mut self.ends[class as usize];
        if before == NONE {
            ends.0 = after;
        } else {
            self.links[before as usize].after = after;
        }
        if after == NONE {
            ends.1 = before;
        } else {
            self.links[after as usize].before = before;
        }
    }

    /// The slot spoke, and is of this class now.
    pub(super) fn touch(&mut self, slot: u32, class: Class) {
        let links = &self.links[slot as usize];
        if links.class == class && links.after == NONE {
            return;
        }
        self.remove(slot);
        self.push(slot, class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_silent_longest_is_first() {
        let mut recency = Recency::default();
        for slot in 0..4 {
            recency.push(slot, Class::Datagrams);
        }
        recency.touch(0, Class::Datagrams);
        recency.touch(1, Class::Open);
        recency.remove(3);
        let mut order = Vec::new();
        while let Some(slot) = recency.oldest(Class::Datagrams) {
            order.push(slot);
            recency.remove(slot);
        }
        assert_eq!(order, [2, 0]);
        assert_eq!(recency.oldest(Class::Open), Some(1));
        recency.remove(1);
        assert_eq!(Class::ALL.map(|class| recency.oldest(class)), [None; 4]);
    }
}
