//! `AF_PACKET`: frames of interfaces where programs can't be loaded (packet(7)).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use kcap_filter::{Filter, Packet};
use kcap_format::proto::LossProgram;
use kcap_recorder_ebpf::{Counters, LINK_TYPE_ETHERNET};

use crate::interface::Link;
use crate::ring::SocketRing;

/// Longest block of the ring: a frame lies in one.
const BLOCK_LEN_MAX: u32 = 1 << 20;
/// Fewest blocks.
const BLOCK_COUNT_MIN: u32 = 4;
/// Unit in which the kernel wants to hear of the ring's size; frames may be longer.
const FRAME_LEN: u32 = 2048;
/// A block that isn't full is handed over after this time.
const RETIRE_MS: u32 = 20;

/// What is recorded of which frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// What frames of an interface begin with, by its index. Others are not recorded.
    pub(crate) links: Arc<RwLock<BTreeMap<u32, u16>>>,
    /// For frames with an Ethernet header, and for those that begin with their network header.
    pub(crate) frame_filter: Option<Filter>,
    pub(crate) network_filter: Option<Filter>,
    pub(crate) snaplen: u32,
    pub(crate) headers_only: bool,
    pub(crate) payload_len: u32,
    /// Namespace of the interfaces.
    pub(crate) netns_cookie: u64,
}

impl Wanted {
    /// What frames of an interface begin with; `None` when they aren't recorded.
    pub(crate) fn link_type(&self, interface: u32) -> Option<u16> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&interface).copied()
    }

    /// Whether the filter lets a frame through.
    pub(crate) fn matches(&self, link_type: u16, bytes: &[u8], wire_len: u32) -> bool {
        let filter = if link_type == LINK_TYPE_ETHERNET { &self.frame_filter } else { &self.network_filter };
        filter.as_ref().is_none_or(|filter| filter.matches(&Packet { header: bytes, payload: &[], wire_len }))
    }
}

/// What became of frames, as the kernel programs count it, and how much is to be captured.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// As in the map `CAPTURE` of the programs.
    pub(crate) capture: AtomicU32,
    seen: AtomicU64,
    filtered: AtomicU64,
    stored: AtomicU64,
    lost_ring_full: AtomicU64,
    lost_overload: AtomicU64,
}

impl Tallies {
    /// The number under which records and losses are booked.
    pub(crate) const PROGRAM: u8 = LossProgram::PacketSocket as u8;

    pub(crate) fn filter(&self) {
        self.filtered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn store(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lose_by_overload(&self) {
        self.lost_overload.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            seen: read(&self.seen),
            filtered: read(&self.filtered),
            stored: read(&self.stored),
            lost_ring_full: read(&self.lost_ring_full),
            lost_overload: read(&self.lost_overload),
            ..Counters::default()
        }
    }
}

/// A socket that sees the frames of all interfaces of its network namespace.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    links: Arc<RwLock<BTreeMap<u32, u16>>>,
    tallies: Arc<Tallies>,
}

impl PacketSocket {
    /// Opens a socket with a ring of so many bytes, a power of two. Frames come once there is an interface.
    ///
    /// # Errors
    /// What the kernel says; without `CAP_NET_RAW` that is `EPERM`.
    pub(crate) fn open(ring_len: u32, wanted: Wanted) -> io::Result<(Self, SocketRing)> {
        let fd = new_socket()?;
        set_option(&fd, libc::SOL_PACKET, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V3)?;
        let block_len = BLOCK_LEN_MAX.min(ring_len / BLOCK_COUNT_MIN);
        let block_count = ring_len / block_len;
        let request = libc::tpacket_req3 {
            tp_block_size: block_len,
            tp_block_nr: block_count,
            tp_frame_size: FRAME_LEN,
            tp_frame_nr: ring_len / FRAME_LEN,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set_option(&fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let (links, tallies) = (Arc::clone(&wanted.links), Arc::<Tallies>::default());
        let socket = Self { fd, links, tallies };
        let blocks = (block_len as usize, block_count as usize);
        let ring = SocketRing::new(socket.fd.try_clone()?, blocks, wanted, Arc::clone(&socket.tallies))?;
        socket.begin()?;
        Ok((socket, ring))
    }

    /// Whether this process may have one.
    ///
    /// # Errors
    /// As of [`PacketSocket::open`].
    pub(crate) fn check() -> io::Result<()> {
        new_socket().map(drop)
    }

    /// Where this counts, and hears how much to capture.
    pub(crate) fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }

    /// Records the frames of an interface from now on.
    pub(crate) fn attach_interface(&self, link: &Link) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(link.index, link.link_type);
    }

    /// Records those of an interface no longer.
    pub(crate) fn detach_interface(&self, index: u32) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }

    /// What became of frames so far.
    pub(crate) fn counters(&self) -> io::Result<Counters> {
        let mut statistics = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        let mut len = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes of a structure that lives until the call returns.
        let status = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut len,
            )
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        // Asking sets both back to 0. Packets include drops.
        self.tallies.seen.fetch_add(statistics.tp_packets.into(), Ordering::Relaxed);
        self.tallies.lost_ring_full.fetch_add(statistics.tp_drops.into(), Ordering::Relaxed);
        Ok(self.tallies.counters())
    }

    /// Takes no more frames. When it returns, what is in the ring is all that there will be.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let mut nothing =
            libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
        set_option(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        // The block that was being filled is handed over by the second tick of its timer.
        thread::sleep(Duration::from_millis(4 * u64::from(RETIRE_MS)));
        Ok(())
    }

    fn begin(&self) -> io::Result<()> {
        // SAFETY: all bytes zero are a valid address: of all interfaces.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the kernel reads the address, which lives until the call returns.
        let status = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// A packet socket of no protocol: nothing comes until it is bound.
fn new_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads the value, and what it points to, which live until the call returns.
    let status = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
