//! `interfaces`: the network interfaces of the host.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use kcap_format::proto::{self, event::Event as Kind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::text::kernel_text;
use super::types::{MAC_LEN, address_from_wire, address_text};
use crate::error::Result;
use crate::source::{Library, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct Interfaces;

/// One interface.
#[derive(Debug)]
pub(super) struct InterfaceRow {
    capture_id: String,
    info: proto::InterfaceInfo,
    name: Option<String>,
    addresses: Vec<String>,
    first_seen: i64,
}

impl Facts for Interfaces {
    type Row = InterfaceRow;
    const NAME: &'static str = "interfaces";
    const SUMMARY: &'static str =
        "A network interface that the recorder saw; again when something of it changed.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[InterfaceRow]>> {
        vec![
            Column::number::<UInt32Type>("interface_index", "Index in its network namespace, as in `packets`", |rows: &[InterfaceRow], row| Some(rows[row].info.index)).required(),
            Column::text("name", "Name, as eth0", |rows: &[InterfaceRow], row| rows[row].name.as_deref()),
            Column::number::<UInt64Type>("netns", "Cookie of the network namespace; null when not known", |rows: &[InterfaceRow], row| Some(rows[row].info.netns_cookie).filter(|cookie| *cookie != 0)),
            Column::mac("mac", "MAC address; null when it has none", |rows: &[InterfaceRow], row| <[u8; MAC_LEN]>::try_from(&rows[row].info.mac_address[..]).ok()),
            Column::text_list("addresses", "Its addresses as text", |rows: &[InterfaceRow], row| Some(&rows[row].addresses[..])),
            Column::number::<UInt32Type>("mtu", "Largest packet in bytes", |rows: &[InterfaceRow], row| Some(rows[row].info.mtu)).required(),
            Column::number::<UInt16Type>("hardware_type", "ARPHRD_* of linux/if_arp.h: 1 Ethernet, 772 loopback", |rows: &[InterfaceRow], row| u16::try_from(rows[row].info.hardware_type).ok()),
            Column::timestamp("first_seen_ts", "When the recording first tells of it", |rows: &[InterfaceRow], row| Some(rows[row].first_seen)).required(),
            Column::text("capture_id", "The recording", |rows: &[InterfaceRow], row| Some(&rows[row].capture_id)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<InterfaceRow>) -> Result<()> {
        for recording in &library.recordings {
            let mut known = HashSet::new();
            for handle in &recording.segments {
                let clock = handle.clock()?;
                for events in handle.events()? {
                    for event in events? {
                        let Some(Kind::Interface(info)) = event.event else { continue };
                        if !known.insert(format!("{info:?}")) {
                            continue;
                        }
                        let address = |bytes: &Vec<u8>| {
                            address_from_wire(bytes).and_then(|address| address_text(&address))
                        };
                        sink.push(InterfaceRow {
                            capture_id: uuid_text(&handle.file_info().capture_id),
                            name: kernel_text(&info.name),
                            addresses: info.addresses.iter().filter_map(address).collect(),
                            first_seen: clock.realtime_ns(event.time_ns),
                            info,
                        })?;
                    }
                }
            }
        }
        Ok(())
    }
}
