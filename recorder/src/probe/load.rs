//! Loading the programs, attaching them, and taking them off again.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{CgroupAttachMode, ProgramType, tc::SchedClassifierLinkId},
    sys::{BpfHelper, is_helper_supported},
};
use kcap_filter::{Filter, link_type};
use kcap_recorder_ebpf::{
    ALERTNESS_AWAKE, ARGUMENTS_LEN_MAX, CAST_TO_KERNEL_CONTEXT, CGROUP_COUNT_MAX, ENVIRONMENT_LEN_MAX,
    FILTER_FUNCTION, FRAME_FILTER_FUNCTION, OFFSET_NONE, Program, Rules, SNAPLEN_MAX, Settings,
    TASK_COUNT_MAX, TASK_FILTER_FUNCTION, UNDECIDED_COUNT_MAX,
};

use super::{
    Btf, Error,
    hooks::{HOOKS, Hook, Need, Place},
    interface::InterfaceHook,
    object::Object,
    offsets,
    program::{self, FrequentLink, reason},
    syscalls, system,
};
use crate::{
    capture_switch::CaptureSwitch,
    condition::Tables,
    host,
    losses::KernelCounters,
    ring::{EventRing, PacketRing, WakeCalls},
};

/// The programs, as build.rs made them.
pub(super) static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

/// Smallest and largest ring: below, a single record might not fit; above, the kernel refuses.
const RING_LEN_MIN: u32 = 1 << 18;
const RING_LEN_MAX: u32 = 1 << 30;
/// The part of a ring that may fill before its reader is woken.
const WAKEUP_FRACTION: u32 = 4;
/// Length of the ring of short packets as a part of the packet ring, and at most: what stays in the cache of a processor
/// beside its other work.
const SHORT_RING_FRACTION: u32 = 4;
const SHORT_RING_LEN_MAX: u32 = 2 << 20;
/// Architectures whose kernels select `HAVE_EFFICIENT_UNALIGNED_ACCESS`: elsewhere the verifier refuses such reads.
const HAS_UNALIGNED_READS: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "powerpc64",
    target_arch = "s390x"
));
/// Entries of maps that nothing uses.
const UNUSED_MAP_LEN: u32 = 64;
/// Flows whose beginnings are told apart at once; the kernel keeps about 150 bytes for each.
const FLOW_COUNT_MAX: u32 = 1 << 16;
/// How long runs that are under way when the programs are taken off may last.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How the programs are to record.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Most bytes of a packet, 1 to [`SNAPLEN_MAX`].
    pub snaplen: u32,
    /// Capture headers up to the transport layer and no payload; `snaplen` then counts for packets without such.
    pub headers_only: bool,
    /// Most payload bytes of a packet.
    pub payload_len: Option<u32>,
    /// Most payload bytes of each direction of a flow, its first ones; headers of what follows.
    pub payload_per_flow_len: Option<u32>,
    /// Store the arriving copy of a loopback packet as headers when its leaving copy was stored whole.
    pub elide_local_copies: bool,
    /// Record only packets that this lets through. It is of link type [`kcap_filter::link_type::RAW`].
    pub filter: Option<Filter>,
    /// The same for frames, of link type [`kcap_filter::link_type::ETHERNET`]. Where one of the two is missing, nothing of
    /// its kind is recorded.
    pub frame_filter: Option<Filter>,
    /// Filters of tasks, each with the bit of its rule, and of link type [`kcap_filter::link_type::RAW`] too. Rules without
    /// one ask for all packets of those for which they hold.
    pub task_filters: Vec<(Filter, u32)>,
    /// Rules of tasks that want whole packets, whatever is said of the payload of others.
    pub payload_tasks: u32,
    /// Record frames of interfaces ([`Loaded::attach_interface`]) instead of packets of sockets.
    pub interfaces: bool,
    /// Have the packet programs read sockets where they are, on kernels that tell the types (6.2), instead of asking helpers.
    pub typed_packets: bool,
    /// Bytes of the packet ring, a power of two.
    pub packet_ring_bytes: u32,
    /// Bytes of the event ring, a power of two.
    pub event_ring_bytes: u32,
    /// Rules on whose packets are wanted; none by default.
    pub rules: Rules,
    /// Most bytes of a program's arguments, up to [`ARGUMENTS_LEN_MAX`].
    pub arguments_len_max: u32,
    /// Most bytes of a program's environment, up to [`ENVIRONMENT_LEN_MAX`].
    pub environment_len_max: u32,
    /// Attach the programs that tell of executable memory, which see every system call.
    pub executable_mappings: bool,
    /// Leave out what this process does, as far as programs can tell.
    pub exclude_self: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            snaplen: SNAPLEN_MAX,
            headers_only: false,
            payload_len: None,
            payload_per_flow_len: None,
            elide_local_copies: true,
            filter: None,
            frame_filter: None,
            task_filters: Vec::new(),
            payload_tasks: 0,
            interfaces: false,
            typed_packets: true,
            packet_ring_bytes: 64 << 20,
            event_ring_bytes: 16 << 20,
            rules: Rules::default(),
            arguments_len_max: 4096,
            environment_len_max: 4096,
            executable_mappings: false,
            exclude_self: false,
        }
    }
}

/// What the programs need of the running kernel, found and checked.
#[derive(Debug)]
pub struct Kernel {
    version: (u32, u32),
    cgroup: PathBuf,
    settings: Settings,
    /// Number of the kernel function `bpf_cast_to_kern_ctx`, where all fields are there that it is for.
    cast_to_kernel_context: Option<u32>,
}

impl Kernel {
    /// Looks at the running kernel; says what is missing and what to do about it.
    pub fn examine() -> Result<Self, Error> {
        let version = system::check_kernel()?;
        system::check_permission()?;
        let btf = Btf::of_kernel()?;
        let cgroup = system::cgroup2_mount()?;
        let netns_cookie = |kind| {
            let known = is_helper_supported(kind, BpfHelper::BPF_FUNC_get_netns_cookie).unwrap_or(false);
            u32::from(known)
        };
        let interface_netns_cookie = crate::enrich::netns_cookie();
        let offsets = offsets::find(&btf)?;
        let has_types = [offsets.sk_buff_sk, offsets.sock_net, offsets.net_cookie]
            .iter()
            .all(|offset| *offset != OFFSET_NONE);
        let cast_to_kernel_context = btf.function("bpf_cast_to_kern_ctx").filter(|_| has_types);
        let settings = Settings {
            loopback_index: system::loopback_index()?,
            interface_netns_cookie_low: interface_netns_cookie as u32,
            interface_netns_cookie_high: (interface_netns_cookie >> 32) as u32,
            packet_netns_cookie: netns_cookie(ProgramType::CgroupSkb),
            sock_ops_netns_cookie: netns_cookie(ProgramType::SockOps),
            unaligned_reads: u32::from(HAS_UNALIGNED_READS),
            exit_has_group_dead: u32::from(btf.tracepoint_parameter_count("sched_process_exit") == Some(2)),
            find_vma: u32::from(
                is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_find_vma)
                    .unwrap_or(false),
            ),
            syscalls: syscalls::find(&btf)?,
            offsets,
            ..Settings::default()
        };
        Ok(Self { version, cgroup, settings, cast_to_kernel_context })
    }

    /// Examines the kernel and loads the programs that it takes. Nothing is attached yet.
    pub fn load(options: &LoadOptions) -> Result<Loaded, Error> {
        Self::examine()?.load_with(options)
    }

    /// Loads the programs that this kernel takes.
    pub fn load_with(self, options: &LoadOptions) -> Result<Loaded, Error> {
        match self.try_load(options) {
            Err(Error::Program { program, reason, .. }) if self.typed_packets(options).is_some() => {
                tracing::debug!(program, reason, "trying again with helpers instead of types");
                self.try_load(&LoadOptions { typed_packets: false, ..options.clone() })
            }
            result => result,
        }
    }

    /// Number of the function with which packets are read, unless by helpers.
    fn typed_packets(&self, options: &LoadOptions) -> Option<u32> {
        self.cast_to_kernel_context.filter(|_| options.typed_packets)
    }

    fn try_load(&self, options: &LoadOptions) -> Result<Loaded, Error> {
        let types = aya::Btf::from_sys_fs();
        let mut ebpf = self.open(options)?;
        let mut outcomes = Vec::new();
        for hook in HOOKS.iter().filter(|hook| hook.is_wanted(options)) {
            if let Need::InsteadOf(better) = hook.need
                && outcomes.iter().any(|(other, failure): &(&Hook, Option<String>)| {
                    other.program == better && failure.is_none()
                })
            {
                continue;
            }
            let failure = program::load(&mut ebpf, hook, &types).err();
            if let (Need::Mandatory | Need::Asked, Some(reason)) = (hook.need, &failure) {
                let (program, hook) = (hook.program.name(), hook.name);
                return Err(Error::Program { program, hook, reason: reason.clone() });
            }
            outcomes.push((hook, failure));
        }
        let counters = KernelCounters::take(&mut ebpf)?;
        let mut loaded = Loaded {
            wake_calls: Some(WakeCalls::take(&mut ebpf)?),
            frequent_links: Vec::new(),
            packets: Some(PacketRing::take(&mut ebpf)?),
            events: Some(EventRing::take(&mut ebpf)?),
            capture_switch: Some(CaptureSwitch::take(&mut ebpf)?),
            condition_tables: Tables::take(&mut ebpf)?,
            counters,
            ebpf: Some(ebpf),
            cgroup: self.cgroup.clone(),
            typed_packets: self.typed_packets(options).is_some(),
            has_links: self.version >= system::CGROUP_LINKS_MIN,
            interface_hook: InterfaceHook::of_kernel(self.version),
            interface_links: BTreeMap::new(),
            pending: Vec::new(),
            hooks: BTreeMap::new(),
            missing: Vec::new(),
        };
        for (hook, failure) in outcomes {
            match failure {
                None => loaded.pending.push(hook),
                Some(reason) => loaded.note_missing(hook, &reason),
            }
        }
        Ok(loaded)
    }

    /// Tries all programs; returns those that the kernel refuses, and why.
    pub(super) fn try_all(self, options: &LoadOptions) -> Result<Vec<(Program, String)>, Error> {
        let failures = self.try_each(options)?;
        let sees_packets =
            |program: Program| HOOKS.iter().any(|hook| hook.program == program && hook.sees_packets());
        if self.typed_packets(options).is_some() && failures.iter().any(|(failed, _)| sees_packets(*failed)) {
            return self.try_each(&LoadOptions { typed_packets: false, ..options.clone() });
        }
        Ok(failures)
    }

    fn try_each(&self, options: &LoadOptions) -> Result<Vec<(Program, String)>, Error> {
        let types = aya::Btf::from_sys_fs();
        let mut ebpf = self.open(options)?;
        let tried = HOOKS.iter().map(|hook| (hook.program, program::load(&mut ebpf, hook, &types)));
        Ok(tried.filter_map(|(program, result)| Some((program, result.err()?))).collect())
    }

    /// Makes the maps, with the options in their globals and sizes.
    fn open(&self, options: &LoadOptions) -> Result<Ebpf, Error> {
        check(options)?;
        let settings = Settings {
            snaplen: options.snaplen,
            headers_only: u32::from(options.headers_only),
            payload_len: options.payload_len.unwrap_or(u32::MAX),
            payload_per_flow_len: options.payload_per_flow_len.unwrap_or(u32::MAX),
            elide_local_copies: u32::from(options.elide_local_copies),
            filter_packets: u32::from(options.filter.is_some() || options.frame_filter.is_some()),
            filtered_tasks: options.task_filters.iter().fold(0, |bits, (_, bit)| bits | bit),
            payload_tasks: options.payload_tasks,
            typed_packets: u32::from(self.typed_packets(options).is_some()),
            packet_wakeup_len: options.packet_ring_bytes / WAKEUP_FRACTION,
            short_packet_wakeup_len: short_ring_bytes(options) / WAKEUP_FRACTION,
            event_wakeup_len: options.event_ring_bytes / WAKEUP_FRACTION,
            rules: options.rules,
            arguments_len_max: options.arguments_len_max,
            environment_len_max: options.environment_len_max,
            recorder_pid: if options.exclude_self { host::kernel_pid().unwrap_or(0) } else { 0 },
            ..self.settings
        };
        // Without rules, nothing is ever looked up there.
        let conditions = |count: u32| if options.rules.all == 0 { UNUSED_MAP_LEN } else { count };
        let processors =
            aya::util::nr_cpus().map_err(|(path, source)| Error::File { path: path.into(), source })?;
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        let mut object = Object::new(PROGRAMS);
        if let Some(function) = self.typed_packets(options) {
            object.replace_calls(CAST_TO_KERNEL_CONTEXT, function);
        }
        if settings.filter_packets != 0 {
            for (function, filter, link_type) in [
                (FILTER_FUNCTION, &options.filter, link_type::RAW),
                (FRAME_FILTER_FUNCTION, &options.frame_filter, link_type::ETHERNET),
            ] {
                let nothing = Filter::nothing(link_type);
                let code = filter.as_ref().unwrap_or(&nothing).compile();
                object.replace_function(function, &code.map_err(|source| Error::Filter { source })?)?;
            }
        }
        if !options.task_filters.is_empty() {
            let filters: Vec<_> = options.task_filters.iter().map(|(filter, bit)| (filter, *bit)).collect();
            let code = Filter::compile_set(&filters).map_err(|source| Error::Filter { source })?;
            object.replace_function(TASK_FILTER_FUNCTION, &code)?;
        }
        EbpfLoader::new()
            .override_global("SETTINGS", bytemuck::bytes_of(&settings), true)
            .map_max_entries("FLOWS", if options.payload_per_flow_len.is_some() { FLOW_COUNT_MAX } else { 1 })
            .map_max_entries("PACKETS", options.packet_ring_bytes)
            .map_max_entries("SHORT_PACKETS", short_ring_bytes(options))
            .map_max_entries("TASKS", conditions(TASK_COUNT_MAX))
            .map_max_entries("CGROUPS", conditions(CGROUP_COUNT_MAX))
            .map_max_entries("UNDECIDED", conditions(UNDECIDED_COUNT_MAX))
            .map_max_entries("EVENTS", options.event_ring_bytes)
            .map_max_entries("SCRATCH", processors)
            .load(object.bytes())
            .map_err(refused)
    }
}

/// The ring of short packets comes beside the one that was asked for.
fn short_ring_bytes(options: &LoadOptions) -> u32 {
    (options.packet_ring_bytes / SHORT_RING_FRACTION).min(SHORT_RING_LEN_MAX)
}

fn check(options: &LoadOptions) -> Result<(), Error> {
    if options.snaplen == 0 || options.snaplen > SNAPLEN_MAX {
        return Err(Error::Option {
            option: "snaplen",
            value: options.snaplen.into(),
            wanted: "1 to 262144",
        });
    }
    for (option, value, most, wanted) in [
        ("arguments", options.arguments_len_max, ARGUMENTS_LEN_MAX, "at most 32767"),
        ("environment", options.environment_len_max, ENVIRONMENT_LEN_MAX, "at most 16383"),
    ] {
        if value > most {
            return Err(Error::Option { option, value: value.into(), wanted });
        }
    }
    for (option, value) in
        [("packet ring", options.packet_ring_bytes), ("event ring", options.event_ring_bytes)]
    {
        if !value.is_power_of_two() || !(RING_LEN_MIN..=RING_LEN_MAX).contains(&value) {
            return Err(Error::Option {
                option,
                value: value.into(),
                wanted: "a power of two, 256 KiB to 1 GiB",
            });
        }
    }
    Ok(())
}

/// The kernel's answer to the maps: without the right capabilities it is `EPERM`, whatever the cause.
fn refused(error: aya::EbpfError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && matches!(io.raw_os_error(), Some(libc::EPERM | libc::ENOSYS))
        {
            return Error::SyscallRefused {
                source: std::io::Error::from_raw_os_error(io.raw_os_error().unwrap_or(0)),
            };
        }
        cause = current.source();
    }
    Error::Maps { source: Box::new(error) }
}

/// Programs in the kernel, and what connects them to this process.
///
/// Dropping it detaches them.
#[derive(Debug)]
pub struct Loaded {
    pub(super) ebpf: Option<Ebpf>,
    cgroup: PathBuf,
    has_links: bool,
    typed_packets: bool,
    pub(super) interface_hook: InterfaceHook,
    /// What hangs on each interface, by its index.
    pub(super) interface_links: BTreeMap<u32, Vec<(Program, SchedClassifierLinkId)>>,
    pending: Vec<&'static Hook>,
    /// Of the programs that [`Loaded::sleep`] takes off.
    frequent_links: Vec<(&'static Hook, FrequentLink)>,
    wake_calls: Option<WakeCalls>,
    packets: Option<PacketRing>,
    events: Option<EventRing>,
    capture_switch: Option<CaptureSwitch>,
    condition_tables: Tables,
    counters: KernelCounters,
    /// What is attached: program name and hook.
    pub hooks: BTreeMap<String, String>,
    /// What the kernel did not offer, a line each.
    pub missing: Vec<String>,
}

impl Loaded {
    /// Attaches the programs that were loaded, packets last. Those that only add knowledge may fail, and are then
    /// named in `missing`.
    pub fn attach(&mut self) -> Result<(), Error> {
        self.attach_pending(|_| true)?;
        self.condition_tables.set_alertness(ALERTNESS_AWAKE)
    }

    /// Attaches all but the programs that see packets: those that know whose they are, so that tables can be filled
    /// before [`Loaded::attach`] attaches the rest.
    pub(crate) fn attach_owners(&mut self) -> Result<(), Error> {
        self.attach_pending(|hook| !hook.sees_packets())
    }

    /// Takes off, after [`Loaded::attach_owners`], what runs for each packet or use of a socket: nobody is wanted. Until
    /// [`Loaded::attach`], those programs that stay call for it when somebody may be: the ring of these calls is given once.
    /// `None`: somebody already may.
    pub(crate) fn sleep(&mut self) -> Option<WakeCalls> {
        let mut calls = self.wake_calls.take()?;
        let ebpf = self.ebpf.as_mut()?;
        if calls.next().is_some() {
            return None;
        }
        for (hook, link) in self.frequent_links.drain(..) {
            if let Err(error) = link.detach(ebpf, hook.program) {
                tracing::debug!(hook = hook.name, %error, "can't be taken off");
                continue;
            }
            self.hooks.remove(hook.program.name());
            self.pending.push(hook);
        }
        Some(calls)
    }

    /// Attaches the programs that see packets before all others that wait for it.
    ///
    /// # Errors
    /// As of [`Loaded::attach`].
    pub(crate) fn attach_packets(&mut self) -> Result<(), Error> {
        self.attach_pending(Hook::sees_packets)?;
        self.condition_tables.set_alertness(ALERTNESS_AWAKE)
    }

    fn attach_pending(&mut self, wanted: impl Fn(&Hook) -> bool) -> Result<(), Error> {
        let cgroup =
            File::open(&self.cgroup).map_err(|source| Error::File { path: self.cgroup.clone(), source })?;
        // Links in single mode are, to the kernel, links beside which others may be; before links, it must be said.
        let mode = if self.has_links { CgroupAttachMode::Single } else { CgroupAttachMode::AllowMultiple };
        let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(|hook| wanted(hook));
        self.pending = later;
        let now: Vec<&'static Hook> = now;
        for hook in now {
            if hook.place == Place::Interface {
                continue;
            }
            let Some(ebpf) = self.ebpf.as_mut() else { break };
            match program::attach(ebpf, hook, &cgroup, mode) {
                Ok(link) => {
                    if let (true, Some(link)) = (hook.is_frequent(), link) {
                        self.frequent_links.push((hook, link));
                    }
                    let how = match (hook.place, self.has_links) {
                        (Place::Cgroup, true) => "link",
                        (Place::Cgroup, false) => "attached with allow-multi",
                        (Place::Tracepoint(_) | Place::Interface, _) => "tracepoint link",
                    };
                    let typed = if hook.sees_packets() && self.typed_packets { ", typed" } else { "" };
                    self.hooks.insert(hook.program.name().into(), format!("{} {how}{typed}", hook.name));
                }
                Err(error) if hook.need == Need::Mandatory => {
                    let (program, hook) = (hook.program.name(), hook.name);
                    return Err(Error::Program { program, hook, reason: reason(&error) });
                }
                Err(error) => self.note_missing(hook, &reason(&error)),
            }
        }
        Ok(())
    }

    /// Takes all programs off. When it returns, no run is under way: the counters have their final values, and what is
    /// in the rings is all that there will be.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.interface_links.clear();
        if self.ebpf.take().is_none() {
            return Ok(());
        }
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            wait_for_runs();
            let undecided = self.counters.read()?.iter().any(|row| row.counters.undecided() != 0);
            if !undecided || Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The ring of the packets, once.
    pub fn take_packet_ring(&mut self) -> Option<PacketRing> {
        self.packets.take()
    }

    /// The ring of the events, once.
    pub fn take_event_ring(&mut self) -> Option<EventRing> {
        self.events.take()
    }

    /// What changes how much is captured of packets, once.
    pub fn take_capture_switch(&mut self) -> Option<CaptureSwitch> {
        self.capture_switch.take()
    }

    /// The tables of conditions.
    pub(crate) fn condition_tables(&self) -> &Tables {
        &self.condition_tables
    }

    /// What the programs counted; also after [`Loaded::detach`].
    pub fn counters(&self) -> &KernelCounters {
        &self.counters
    }

    /// The folder of the cgroup that the programs are attached to.
    pub fn cgroup(&self) -> &std::path::Path {
        &self.cgroup
    }

    fn note_missing(&mut self, hook: &Hook, reason: &str) {
        self.missing.push(format!("{} ({}): {reason}", hook.name, hook.purpose));
    }
}

/// `MEMBARRIER_CMD_GLOBAL` waits until every processor has left the sections that programs run in.
fn wait_for_runs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: a system call without pointers.
    let failed = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if failed {
        // Kernels with tickless processors refuse. A run takes microseconds.
        thread::sleep(Duration::from_millis(20));
    }
}
