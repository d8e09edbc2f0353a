//! Where records come from: the kernel programs, or a packet socket where they can't be loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kcap_recorder_ebpf::Counters;
use tracing::warn;

use crate::account::Source;
use crate::capture_switch::CaptureSwitch;
use crate::condition::Tables;
use crate::drain::PacketSource;
use crate::enrich;
use crate::interface::Link;
use crate::packet_socket::{PacketSocket, Tallies, Wanted};
use crate::probe::{self, Error, Kernel, LoadOptions, Loaded};
use crate::ring::{EventRing, WakeCalls};

/// What makes records.
#[derive(Debug)]
pub(crate) enum Intake {
    Programs(Box<Loaded>),
    Socket {
        socket: PacketSocket,
        /// Why it isn't the programs.
        reason: String,
    },
}

/// An intake, and what is read of it.
pub(crate) struct Opened {
    pub(crate) intake: Intake,
    pub(crate) packets: PacketSource,
    /// `None`: nothing tells of processes and sockets as they come.
    pub(crate) events: Option<EventRing>,
    pub(crate) switch: CaptureSwitch,
    /// `None`: there are no conditions.
    pub(crate) tables: Option<Tables>,
}

impl Opened {
    /// Loads the programs. Where that can't be, frames are recorded through a packet socket, if it is frames that were asked
    /// for.
    pub(crate) fn open(kernel: Result<Kernel, Error>, options: &LoadOptions) -> Result<Self> {
        match kernel.and_then(|kernel| kernel.load_with(options)) {
            Ok(loaded) => Self::of_programs(loaded),
            Err(error) if options.interfaces && error.is_of_programs() => Self::of_socket(&error, options),
            Err(error) => Err(error.into()),
        }
    }

    fn of_programs(mut loaded: Loaded) -> Result<Self> {
        let packets = loaded.take_packet_ring().context("the packet ring was taken already")?;
        Ok(Self {
            packets: PacketSource::Programs(packets),
            events: Some(loaded.take_event_ring().context("the event ring was taken already")?),
            switch: loaded.take_capture_switch().context("the capture switch was taken already")?,
            tables: Some(loaded.condition_tables().clone()),
            intake: Intake::Programs(Box::new(loaded)),
        })
    }

    fn of_socket(error: &Error, options: &LoadOptions) -> Result<Self> {
        if options.payload_per_flow_len.is_some() {
            return Err(anyhow!("--payload-per-flow takes kernel programs, which can't be loaded: {error}"));
        }
        let nothing = kcap_filter::Filter::nothing;
        let is_filtered = options.filter.is_some() || options.frame_filter.is_some();
        let filter = |filter: &Option<kcap_filter::Filter>, link_type| {
            is_filtered.then(|| filter.clone().unwrap_or_else(|| nothing(link_type)))
        };
        let wanted = Wanted {
            frame_filter: filter(&options.frame_filter, kcap_filter::link_type::ETHERNET),
            network_filter: filter(&options.filter, kcap_filter::link_type::RAW),
            snaplen: options.snaplen,
            headers_only: options.headers_only,
            payload_len: options.payload_len.unwrap_or(u32::MAX),
            netns_cookie: enrich::netns_cookie(),
            ..Wanted::default()
        };
        let (socket, ring) = PacketSocket::open(options.packet_ring_bytes, wanted)
            .with_context(|| format!("{error}; and no packet socket can be opened instead"))?;
        warn!(
            reason = %error,
            "programs can't be loaded: frames are recorded through AF_PACKET, and their owners looked for in /proc"
        );
        Ok(Self {
            packets: PacketSource::Socket(ring),
            events: None,
            switch: CaptureSwitch::of_socket(Arc::clone(socket.tallies())),
            tables: None,
            intake: Intake::Socket { socket, reason: error.to_string() },
        })
    }
}

impl Intake {
    /// Attaches the programs; see [`Loaded::attach`].
    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        match self {
            Self::Programs(loaded) => loaded.attach(),
            Self::Socket { .. } => Ok(()),
        }
    }

    /// Attaches those that don't see packets.
    pub(crate) fn attach_owners(&mut self) -> Result<(), Error> {
        match self {
            Self::Programs(loaded) => loaded.attach_owners(),
            Self::Socket { .. } => Ok(()),
        }
    }

    /// Takes off what runs for each packet or use of a socket; see [`Loaded::sleep`]. Gives what calls for it.
    pub(crate) fn sleep(&mut self) -> Option<WakeCalls> {
        match self {
            Self::Programs(loaded) => loaded.sleep(),
            Self::Socket { .. } => None,
        }
    }

    /// Attaches those that see packets, before [`Self::attach`] attaches the rest.
    pub(crate) fn attach_packets(&mut self) -> Result<(), Error> {
        match self {
            Self::Programs(loaded) => loaded.attach_packets(),
            Self::Socket { .. } => Ok(()),
        }
    }

    /// Records the frames of an interface from now on.
    pub(crate) fn attach_interface(&mut self, link: &Link) -> Result<(), Error> {
        match self {
            Self::Programs(loaded) => loaded.attach_interface(link),
            Self::Socket { socket, .. } => {
                socket.attach_interface(link);
                Ok(())
            }
        }
    }

    /// Records them no longer.
    pub(crate) fn detach_interface(&mut self, index: u32) {
        match self {
            Self::Programs(loaded) => loaded.detach_interface(index),
            Self::Socket { socket, .. } => socket.detach_interface(index),
        }
    }

    /// Takes the programs off all interfaces.
    pub(crate) fn detach_interfaces(&mut self) {
        if let Self::Programs(loaded) = self {
            loaded.detach_interfaces();
        }
    }

    /// Ends what makes records. When it returns, counters have their final values, and what is in the rings is all that
    /// there will be.
    pub(crate) fn detach(&mut self) -> Result<()> {
        match self {
            Self::Programs(loaded) => Ok(loaded.detach()?),
            Self::Socket { socket, .. } => socket.detach().context("the packet socket can't be stopped"),
        }
    }

    /// What became of records so far.
    pub(crate) fn counters(&self) -> Result<Vec<(Source, Counters)>> {
        match self {
            Self::Programs(loaded) => {
                let rows = loaded.counters().read()?.into_iter();
                let source = |program, cpu| Source { program, cpu };
                // Ring records number processors in 16 bits.
                Ok(rows.map(|row| (source(row.program as u8, row.cpu as u16), row.counters)).collect())
            }
            Self::Socket { socket, .. } => {
                let counters = socket.counters().context("reading what the packet socket counted")?;
                // It doesn't tell which processor.
                Ok(vec![(Source { program: Tallies::PROGRAM, cpu: 0 }, counters)])
            }
        }
    }

    /// The root of cgroup2, if it is mounted.
    pub(crate) fn cgroup(&self) -> Option<PathBuf> {
        match self {
            Self::Programs(loaded) => Some(loaded.cgroup().to_owned()),
            Self::Socket { .. } => probe::cgroup2_mount().ok(),
        }
    }

    /// What is in use, as recordings name it.
    pub(crate) fn hooks(&self) -> BTreeMap<String, String> {
        match self {
            Self::Programs(loaded) => loaded.hooks.clone(),
            Self::Socket { .. } => {
                BTreeMap::from([("packet_socket".to_owned(), "AF_PACKET TPACKET_V3".to_owned())])
            }
        }
    }

    /// What isn't, a line each.
    pub(crate) fn missing(&self) -> Vec<String> {
        match self {
            Self::Programs(loaded) => loaded.missing.clone(),
            Self::Socket { reason, .. } => vec![format!("kernel programs: {reason}")],
        }
    }
}
