//! Classes of rows: all rows of a class have the same socket, interface, direction and the like.

use rustc_hash::FxHashMap;

use crate::batch::PacketBatch;

/// The values that a class stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    socket_cookie: u64,
    netns_cookie: u64,
    interface_index: u32,
    mark: u32,
    tasks: u32,
    link_type: u16,
    flags: u16,
    direction: u8,
    program: u8,
}

/// The class of each row, and the values of each class in columns.
#[derive(Default)]
pub(super) struct Classes {
    pub(super) of_row: Vec<u32>,
    pub(super) socket_cookie: Vec<u64>,
    pub(super) netns_cookie: Vec<u64>,
    pub(super) interface_index: Vec<u32>,
    pub(super) mark: Vec<u32>,
    pub(super) tasks: Vec<u32>,
    pub(super) link_type: Vec<u16>,
    pub(super) flags: Vec<u16>,
    pub(super) direction: Vec<u8>,
    pub(super) program: Vec<u8>,
    numbers: FxHashMap<Class, u32>,
}

impl Classes {
    /// How many classes there are.
    pub(super) fn len(&self) -> usize {
        self.direction.len()
    }

    /// Numbers the classes of a batch in the order in which they come.
    pub(super) fn find(&mut self, batch: &PacketBatch) {
        self.clear();
        // Leaving and arriving packets of one connection alternate: the last two classes are tried first.
        let mut recent = [None; 2];
        for row in 0..batch.len {
            let class = Class {
                socket_cookie: batch.socket_cookie[row],
                netns_cookie: batch.netns_cookie[row],
                interface_index: batch.interface_index[row],
                mark: batch.mark[row],
                tasks: batch.tasks[row],
                link_type: batch.link_type[row],
                flags: batch.flags[row],
                direction: batch.direction[row],
                program: batch.program[row],
            };
            let number = match recent.iter().flatten().find(|(known, _)| *known == class) {
                Some((_, number)) => *number,
                None => {
                    let number = self.number(class);
                    recent = [Some((class, number)), recent[0]];
                    number
                }
            };
            self.of_row.push(number);
        }
    }

    fn number(&mut self, class: Class) -> u32 {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(class).or_insert(next);
        if number == next {
            self.socket_cookie.push(class.socket_cookie);
            self.netns_cookie.push(class.netns_cookie);
            self.interface_index.push(class.interface_index);
            self.mark.push(class.mark);
            self.tasks.push(class.tasks);
            self.link_type.push(class.link_type);
            self.flags.push(class.flags);
            self.direction.push(class.direction);
            self.program.push(class.program);
        }
        number
    }

    fn clear(&mut self) {
        self.of_row.clear();
        self.numbers.clear();
        self.socket_cookie.clear();
        self.netns_cookie.clear();
        self.interface_index.clear();
        self.mark.clear();
        self.tasks.clear();
        self.link_type.clear();
        self.flags.clear();
        self.direction.clear();
        self.program.clear();
    }
}
