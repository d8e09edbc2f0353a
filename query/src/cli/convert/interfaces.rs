//! The interfaces of exported packets, with the names that the recording knows.

use std::collections::HashMap;

use kcap_format::{BlockType, proto::event::Event as Kind};

use crate::error::Result;
use crate::export::{ExportInterface, InterfaceKey};
use crate::source::{Library, SegmentHandle};

/// What a recording tells of an interface: its name and its MAC address.
type Known = (String, Option<[u8; 6]>);

/// Most interfaces that a file tells apart; hosts with as many containers have fewer.
const INTERFACES_MAX: usize = 65_536;

/// Interfaces by network namespace, index and link type; made when their first packet comes.
#[derive(Debug)]
pub(super) struct Interfaces {
    /// Names and MAC addresses by namespace and index.
    known: HashMap<(u64, u32), Known>,
    snaplen: u32,
    made: HashMap<InterfaceKey, ExportInterface>,
}

impl Interfaces {
    /// Reads what the recordings tell of interfaces.
    pub(super) fn of(library: &Library) -> Result<Self> {
        let mut known = HashMap::new();
        for handle in library.segments() {
            for block in handle.blocks(BlockType::SNAPSHOT)? {
                for event in handle.block_events(block)? {
                    let Some(Kind::Interface(info)) = event.event else { continue };
                    let name = String::from_utf8_lossy(&info.name).into_owned();
                    let mac = info.mac_address[..].try_into().ok().filter(|mac| *mac != [0; 6]);
                    known.insert((info.netns_cookie, info.index), (name, mac));
                }
            }
        }
        let snaplen = library.segments().filter_map(snaplen).max().unwrap_or(0);
        Ok(Self { known, snaplen, made: HashMap::new() })
    }

    /// The interface of a packet; where there are very many, that of all others.
    pub(super) fn get(&mut self, key: InterfaceKey) -> &ExportInterface {
        let (known, snaplen) = (&self.known, self.snaplen);
        let is_one = self.made.len() < INTERFACES_MAX || self.made.contains_key(&key);
        let key = if is_one { key } else { InterfaceKey { netns_cookie: 0, index: 0, ..key } };
        self.made.entry(key).or_insert_with(|| {
            let (name, mac_address) = known.get(&(key.netns_cookie, key.index)).cloned().unwrap_or_default();
            let name = if name.is_empty() { format!("if{}", key.index) } else { name };
            let description = match key.netns_cookie {
                0 => String::new(),
                cookie => format!("interface {} of network namespace {cookie}", key.index),
            };
            ExportInterface { key, name, description, mac_address, snaplen }
        })
    }
}

/// The option `snaplen` of the recorder; `None` when it is no number.
fn snaplen(handle: &SegmentHandle) -> Option<u32> {
    if let Some(file) = handle.import() {
        return file.snaplen();
    }
    handle.file_info().recorder.as_ref()?.options.get("snaplen")?.parse().ok()
}
