//! Filters that a recorder left at interfaces because it was killed: links end with their process, filters of clsact
//! don't. They cost each packet a run of a program whose records nobody reads.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use aya::{
    maps::MapInfo,
    programs::{
        TcAttachType,
        links::Link as _,
        loaded_programs,
        tc::{SchedClassifierLink, TcHandle},
    },
};
use kcap_recorder_ebpf::Program;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{host, interface::Link};

// linux/rtnetlink.h, linux/pkt_cls.h and linux/pkt_sched.h
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
/// Bits that say what an attribute's type is not.
const ATTRIBUTE_FLAGS: u16 = 0xc000;
const NETLINK_HEADER_LEN: usize = 16;
const TCMSG_LEN: usize = 20;
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Maps that tell the recorder's programs from others of the same name.
const OWN_MAPS: [&str; 2] = ["LINK_TYPES", "PACKETS"];

/// A filter of a recorder that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftFilter {
    /// The interface's name.
    pub interface: String,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// Place among the filters there.
    pub priority: u16,
    /// Which one of these it is.
    pub handle: u32,
}

/// A filter, as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    interface_index: u32,
    priority: u16,
    handle: u32,
    name: String,
    program_id: u32,
}

/// The filters that recorders left at these interfaces of the calling thread's network namespace. None where it can't be told
/// whether their recorder still runs.
///
/// # Errors
/// When the kernel doesn't tell of filters.
pub fn left_filters(links: &[Link]) -> io::Result<Vec<LeftFilter>> {
    const DIRECTIONS: [(&str, u32, Program); 2] = [
        ("ingress", CLSACT_INGRESS, Program::InterfaceIngress),
        ("egress", CLSACT_EGRESS, Program::InterfaceEgress),
    ];
    let mut found = Vec::new();
    for link in links {
        for (direction, parent, program) in DIRECTIONS {
            let filters = filters(link.index, parent)?;
            found.extend(
                filters
                    .into_iter()
                    .filter(|filter| filter.interface_index == link.index && filter.name == program.name())
                    .map(|filter| (link, direction, filter)),
            );
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let own = own_programs();
    // In a container's pid namespace the recorders of others can't be seen.
    let Some(held) = host::in_initial_pid_namespace().then(|| held_programs(Path::new("/proc"))).flatten()
    else {
        return Ok(Vec::new());
    };
    found.retain(|(.., filter)| own.contains(&filter.program_id) && !held.contains(&filter.program_id));
    let left = found.into_iter().map(|(link, direction, filter)| LeftFilter {
        interface: link.name.clone(),
        direction,
        priority: filter.priority,
        handle: filter.handle,
    });
    Ok(left.collect())
}

impl LeftFilter {
    /// Takes it off its interface.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self) -> Result<(), String> {
        let direction =
            if self.direction == "ingress" { TcAttachType::Ingress } else { TcAttachType::Egress };
        let handle = TcHandle::from(self.handle);
        SchedClassifierLink::attached(&self.interface, direction, self.priority, handle, None)
            .map_err(|error| error.to_string())?
            .detach()
            .map_err(|error| error.to_string())
    }

    /// The command that does the same.
    pub fn command(&self) -> String {
        let Self { interface, direction, priority, handle } = self;
        format!("tc filter del dev {interface} {direction} pref {priority} handle {handle:#x} bpf")
    }
}

/// Programs that only a recorder loads.
fn own_programs() -> HashSet<u32> {
    let is_own = |info: &aya::programs::ProgramInfo| {
        let ids = info.map_ids().ok().flatten().unwrap_or_default();
        let names: Vec<String> = ids
            .into_iter()
            .filter_map(|id| Some(MapInfo::from_id(id).ok()?.name_as_str()?.to_owned()))
            .collect();
        OWN_MAPS.iter().all(|own| names.iter().any(|name| name == own))
    };
    loaded_programs().filter_map(Result::ok).filter(is_own).map(|info| info.id()).collect()
}

/// Programs that some process has open; `None` when there is a recorder that can't be looked at.
fn held_programs(proc: &Path) -> Option<HashSet<u32>> {
    let mut held = HashSet::new();
    for process in proc.read_dir().ok()?.filter_map(Result::ok) {
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match programs_of(&process.path()) {
            Ok(programs) => held.extend(programs),
            // It ended meanwhile.
            Err(error) if is_gone(&error) => {}
            // Who has more capabilities, or is a tracer's own, can't be looked at: that takes more than listing descriptors.
            Err(_) if may_be_recorder(&process.path()) => return None,
            Err(_) => {}
        }
    }
    Some(held)
}

/// Programs that a process has open.
fn programs_of(process: &Path) -> io::Result<Vec<u32>> {
    let mut programs = Vec::new();
    for file in process.join("fd").read_dir()?.filter_map(Result::ok) {
        let told = match file.path().read_link() {
            Ok(target) if target != Path::new("anon_inode:bpf-prog") => continue,
            Ok(_) => std::fs::read_to_string(process.join("fdinfo").join(file.file_name())),
            Err(error) => Err(error),
        };
        match told {
            Ok(told) => programs.extend(program_id(&told)),
            // Closed meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

/// Whether a process has a thread with a name of a recorder's: those anybody may read.
fn may_be_recorder(process: &Path) -> bool {
    let Ok(threads) = process.join("task").read_dir() else { return true };
    let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    threads
        .filter_map(Result::ok)
        .filter_map(|thread| name(thread).ok())
        .any(|name| name.starts_with("kcap-"))
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn program_id(told: &str) -> Option<u32> {
    told.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

/// The BPF filters of one direction of an interface.
fn filters(interface_index: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(interface_index, parent), 0)?;
    let mut filters = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if parse(&datagram, &mut filters)? {
            return Ok(filters);
        }
    }
}

/// `nlmsghdr` and `tcmsg`.
fn request(interface_index: u32, parent: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(NETLINK_HEADER_LEN + TCMSG_LEN);
    bytes.extend(((NETLINK_HEADER_LEN + TCMSG_LEN) as u32).to_ne_bytes());
    bytes.extend(RTM_GETTFILTER.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence number and sender, family and padding.
    bytes.extend([0; 12]);
    bytes.extend(interface_index.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(parent.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes
}

/// Adds the BPF filters of a datagram; true when it was the last datagram of the answer.
fn parse(datagram: &[u8], filters: &mut Vec<Filter>) -> io::Result<bool> {
    let malformed = |error| io::Error::other(format!("rtnetlink answered with a malformed message: {error}"));
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
        let body = &rest[NETLINK_HEADER_LEN..message.length() as usize];
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return error_of(body),
            RTM_NEWTFILTER => filters.extend(filter_of(body)),
            _ => {}
        }
        // Messages are aligned to four bytes; `new_checked` made sure that the length is at least a header's.
        rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// An interface that has no clsact, or is gone, has no filters.
fn error_of(body: &[u8]) -> io::Result<bool> {
    match word(body, 0).map(|word| (word as i32).wrapping_neg()) {
        None | Some(0 | libc::EINVAL | libc::ENODEV | libc::ENOENT | libc::EOPNOTSUPP) => Ok(true),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
    }
}

/// `tcmsg` and attributes; `None` for filters without a BPF program.
fn filter_of(body: &[u8]) -> Option<Filter> {
    let mut filter = Filter {
        interface_index: word(body, 4)?,
        handle: word(body, 8)?,
        priority: (word(body, 16)? >> 16) as u16,
        ..Filter::default()
    };
    let mut is_bpf = false;
    for (kind, value) in attributes(body.get(TCMSG_LEN..)?) {
        match kind {
            TCA_KIND => is_bpf = text(value) == "bpf",
            TCA_OPTIONS => {
                for (kind, value) in attributes(value) {
                    match kind {
                        TCA_BPF_NAME => filter.name = text(value),
                        TCA_BPF_ID => filter.program_id = word(value, 0)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (is_bpf && filter.program_id != 0).then_some(filter)
}

/// Types and values, up to what isn't whole.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !ATTRIBUTE_FLAGS;
        let value = rest.get(ATTRIBUTE_HEADER_LEN..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((ATTRIBUTE_HEADER_LEN + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// What the kernel answers: a filter, and the end.
    fn answer(kind: &[u8]) -> Vec<u8> {
        let options =
            [attribute(TCA_BPF_NAME, b"interface_egress\0"), attribute(TCA_BPF_ID, &77u32.to_ne_bytes())];
        let words = [0, 5, 1, CLSACT_EGRESS, 49_152 << 16 | 0x0300];
        let mut body: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        body.extend(attribute(TCA_KIND, kind));
        body.extend(attribute(TCA_OPTIONS | 0x8000, &options.concat()));
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = ((NETLINK_HEADER_LEN + body.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes
        };
        [message(RTM_NEWTFILTER, &body), message(NLMSG_DONE, &[0; 4])].concat()
    }

    #[test]
    fn filters_are_read() {
        let mut filters = Vec::new();
        assert!(parse(&answer(b"bpf\0"), &mut filters).expect("well formed"));
        let expected = Filter {
            interface_index: 5,
            priority: 49_152,
            handle: 1,
            name: "interface_egress".to_owned(),
            program_id: 77,
        };
        assert_eq!(filters, [expected]);
        filters.clear();
        assert!(parse(&answer(b"u32\0"), &mut filters).expect("well formed"));
        assert_eq!(filters, []);
    }

    #[test]
    fn no_bytes_stop_it() {
        let whole = answer(b"bpf\0");
        for end in 0..whole.len() {
            let _ = parse(&whole[..end], &mut Vec::new());
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] = 0xff;
            let _ = parse(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn errors_are_told_but_for_interfaces_without_filters() {
        let error = |number: i32| error_of(&(-number).to_ne_bytes());
        assert!(error(libc::EINVAL).expect("no clsact"));
        assert_eq!(error(libc::EPERM).expect_err("refused").raw_os_error(), Some(libc::EPERM));
        assert!(error_of(&i32::MIN.to_ne_bytes()).is_err(), "a number that has no opposite");
    }

    #[test]
    fn programs_of_processes_are_known_by_their_descriptors() {
        assert_eq!(program_id("pos:\t0\nprog_type:\t3\nprog_id:\t1234\nrun_cnt:\t0\n"), Some(1234));
        assert_eq!(program_id("pos:\t0\n"), None);
        assert_eq!(held_programs(Path::new("/nonexistent")), None);
    }

    #[test]
    fn nothing_is_left_for_whom_descriptors_cant_be_read() {
        let proc = tempfile::tempdir().expect("a scratch folder");
        let (fd, fdinfo) = (proc.path().join("1/fd"), proc.path().join("1/fdinfo"));
        std::fs::create_dir_all(&fd).and_then(|()| std::fs::create_dir(&fdinfo)).expect("folders");
        symlink("anon_inode:bpf-prog", fd.join("3"))
            .and_then(|()| symlink("/etc", fd.join("4")))
            .expect("links");
        std::fs::write(fdinfo.join("3"), "prog_id:\t77\n").expect("a file");
        assert_eq!(held_programs(proc.path()), Some(HashSet::from([77])));
        // Reading a link is refused with EACCES for processes of others; what is no link fails, too.
        std::fs::write(fd.join("5"), "").expect("a file");
        let thread = proc.path().join("1/task/2");
        std::fs::create_dir_all(&thread).expect("a folder");
        std::fs::write(thread.join("comm"), "kcap-sink\n").expect("a file");
        assert_eq!(held_programs(proc.path()), None, "it may be a recorder");
        std::fs::write(thread.join("comm"), "systemd\n").expect("a file");
        assert_eq!(held_programs(proc.path()), Some(HashSet::new()), "it isn't one");
    }
}
