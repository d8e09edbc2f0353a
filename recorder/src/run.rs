//! `kcap-record run`: wires the threads, waits for the end, and takes everything down in order.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use kcap_format::DictionaryPool;
use kcap_format::proto::{FileInfo, Recorder, file_info::Origin};
use tracing::{info, warn};

use crate::capture_governor::CaptureGovernor;
use crate::capture_switch::CaptureSwitch;
use crate::cli::{Fsync, RunArgs, Snaplen};
use crate::condition::{Decider, Ended, Held, Policy, RuleSet, Tables};
use crate::config::PayloadTask;
use crate::dormancy::{self, Bed, Bell};
use crate::drain::{EventDrainer, NoEvents, Outlet, PacketDrainer, PacketSource, TAG_LEN};
use crate::enrich::Translator;
use crate::filter::PacketFilter;
use crate::folder::Folder;
use crate::governor::{self, Governor};
use crate::intake::{Intake, Opened};
use crate::interface::Interfaces;
use crate::pipeline::{EVENT_BATCHES, PACKET_BATCHES, Pool, ToSink, jobs};
use crate::probe::{Kernel, LoadOptions};
use crate::progress::{Progress, ProgressLine};
use crate::recording::{CounterReader, Limits, Recording, SyncPolicy};
use crate::ring::EventRing;
use crate::scan::Scan;
use crate::signals::Ends;
use crate::sink::{Outcome, Recycling, Sink};
use crate::summary::Summary;
use crate::units::format_size;
use crate::watch::{Reduced, Watch};
use crate::{clock, compress, container, host, lockdown, priority};

/// Smallest `--segment-size`: about one block.
pub(crate) const SEGMENT_LEN_MIN: u64 = 1 << 20;
/// Smallest `--max-disk`.
pub(crate) const DISK_LEN_MIN: u64 = 16 << 20;
/// Sizes of ring buffers that the kernel takes.
pub(crate) const RING_LENS: RangeInclusive<u32> = (256 << 10)..=(1 << 30);
/// Segments that `--max-disk` must have room for, so that removing one doesn't remove everything.
const SEGMENTS_ON_DISK_MIN: u64 = 4;
/// Most compressor threads unless `--threads` asks for more.
const COMPRESSORS_MAX: usize = 4;
/// Time between syncs unless `--sync-interval` says otherwise.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The progress line changes this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Records as the arguments say.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    die_with_any_thread();
    let kernel = match Kernel::examine() {
        // Before anything is made. Frames may be had without programs.
        Err(error) if args.interface.is_empty() => return Err(error.into()),
        kernel => kernel,
    };
    let mut folder = Folder::open(&args.output)?;
    let ends = Ends::new()?;
    let rules = args.rules().map_err(|message| anyhow!(message))?;
    let Opened { mut intake, packets, events, switch, tables } =
        Opened::open(kernel, &load_options(args, &rules))?;
    let begin_ns = clock::boot_ns();
    // Without programs there are no conditions.
    let tables = tables.filter(|_| !rules.is_empty());
    if let Some(tables) = &tables {
        tables.prepare(&rules)?;
    }
    intake.attach_owners()?;
    if rules.is_empty() {
        intake.attach()?;
    }
    let mut interfaces = Interfaces::new(&args.interface);
    interfaces.attach(&mut intake)?;
    let mut missing = intake.missing();
    if !host::in_initial_pid_namespace() {
        let line = "initial pid namespace: /proc has other process numbers than the events, and what the recorder does \
                    itself is recorded too";
        missing.push(line.to_owned());
    }
    for line in &missing {
        warn!(missing = line, "recording without");
    }
    let (to_sink, sink_messages) = unbounded();
    // After attaching, so that nothing falls between; before the lock down, since it needs what that takes
    // away.
    let mut decider = Decider::new(rules.clone(), tables.clone());
    let (containers, cgroups) = container::tap(decider.is_needed());
    let (enumerated, first) = crossbeam_channel::bounded(1);
    let enumerated = tables.is_some().then_some(enumerated);
    let sessions = Arc::default();
    let (stop, ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let scan = Scan {
        cgroup: intake.cgroup(),
        arguments_len_max: args.arguments_size as usize,
        sessions: Arc::clone(&sessions),
        containers: containers.clone(),
        to_sink: to_sink.clone(),
        again_until: events.is_none().then(|| Arc::clone(&ending)),
    };
    let enumerator = spawn("enumerate", move || scan.run(enumerated))?;
    let mut asleep = None;
    if let Some(tables) = &tables {
        let bell = Bell::new().context("cannot make an eventfd")?;
        tables.ring(bell.clone());
        // Whose packets are wanted must be known before they come.
        let found = first.recv().context("cannot enumerate what is older than the recorder")?;
        let is_wanted = tables.fill(&rules, &found.events, &mut decider)? || bell.is_called();
        // In another pid namespace it isn't known who there is.
        let is_possible = args.interface.is_empty()
            && dormancy::is_possible(&rules.for_kernel())
            && host::in_initial_pid_namespace();
        if is_possible && !is_wanted && found.processes_left_out == 0 {
            // Those that weren't known yet may have been counted.
            tables.forget_early()?;
            asleep = intake.sleep().map(|calls| (bell, calls));
        }
        if asleep.is_none() {
            intake.attach()?;
        }
    }
    drop(first);
    let intake = Arc::new(Mutex::new(intake));
    let interface_watch = (!args.interface.is_empty())
        .then(|| {
            let (intake, ending, to_sink) = (Arc::clone(&intake), Arc::clone(&ending), to_sink.clone());
            spawn("interfaces", move || interfaces.watch(&intake, &ending, &to_sink))
        })
        .transpose()?;
    let mut wakers = Vec::new();
    let bell = match (asleep, &tables) {
        (Some((bell, calls)), Some(tables)) => {
            // Who calls from now on is heard: calls wait for the threads.
            tables.set_alertness(dormancy::alertness())?;
            let (intake, tables, to_sink) = (Arc::clone(&intake), tables.clone(), to_sink.clone());
            wakers = dormancy::start(&Bed { bell: bell.clone(), intake, tables, to_sink }, calls)?;
            Some(bell)
        }
        _ => None,
    };
    lockdown::apply(&args.output)?;
    let watcher = container::start(&args.docker_socket, &args.cri_socket, cgroups, decider, to_sink.clone())?;
    // Only now: a thread keeps the capabilities that it was made with.
    let ends = ends.listen()?;

    let limits = limits(args);
    if limits.segment_len < args.segment_size {
        let segment_size = format_size(limits.segment_len);
        info!(segment_size, "segments are smaller than asked for, because of --max-disk");
    }
    let hooks = intake.lock().unwrap_or_else(PoisonError::into_inner).hooks();
    let mut file = file_info(args, hooks, missing);
    file.predecessor = folder.take_predecessor();
    let recording = Recording::begin(folder, limits, file, begin_ns, counter_reader(&intake))?;
    let progress = Arc::new(Progress::default());
    let translator = Translator { environment: args.environment, sessions };
    let policy = policy(args, &rules);
    let taken = Taken { packets, events, switch, translator, containers, tables, policy, bell: bell.clone() };
    let mut threads = start_threads(args, recording, &progress, &stop, &to_sink, sink_messages, taken)?;
    // The sink ends when all that send to it have.
    drop(to_sink);
    match &bell {
        Some(_) => info!("recording, asleep: no packet is looked at until somebody may be wanted"),
        None => info!("recording"),
    }

    let begun = Instant::now();
    wait_for_end(args, &ends, &threads, bell.as_ref(), &progress, begun);
    let duration = begun.elapsed();
    ending.store(true, Ordering::Release);
    if let Some(interface_watch) = interface_watch {
        join(interface_watch);
    }
    // Before the programs are taken off: it would attach them again.
    bell.iter().for_each(Bell::end);
    let woken = wakers.into_iter().try_for_each(join);
    let detached = intake.lock().unwrap_or_else(PoisonError::into_inner).detach();
    // Whatever failed there: what is in the rings and in the segment is kept.
    stop.store(true, Ordering::Release);
    let drained = threads.join_drainers();
    join(enumerator);
    // Ends when nobody has cgroups to tell of any more.
    join(watcher);
    let (outcome, reduced) = threads.join_rest();
    if !args.quiet {
        let summary = Summary { outcome: &outcome, folder: &args.output, duration, reduced };
        let _ = write!(io::stderr(), "{summary}");
    }
    woken?;
    detached?;
    drained?;
    if !outcome.sealed {
        return Err(anyhow!("the last segment could not be sealed; what was synced before is readable"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A pipeline without one of its threads would wait for ever: a bug in one ends them all, with its message.
fn die_with_any_thread() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        process::abort();
    }));
}

fn wait_for_end(
    args: &RunArgs,
    ends: &Receiver<i32>,
    threads: &Threads,
    bell: Option<&Bell>,
    progress: &Progress,
    begun: Instant,
) {
    let mut line = ProgressLine::new(args.quiet, begun);
    let deadline = args.duration.and_then(|duration| begun.checked_add(duration));
    let mut next_line = begun + PROGRESS_INTERVAL;
    loop {
        let until = deadline.map_or(next_line, |deadline| deadline.min(next_line));
        match ends.recv_deadline(until) {
            Ok(signal) => {
                info!(signal, "ending");
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        let failed = bell.is_some_and(Bell::has_failed);
        if deadline.is_some_and(|deadline| now >= deadline) || threads.drainer_ended() || failed {
            break;
        }
        if now >= next_line {
            line.show(progress, now);
            next_line += PROGRESS_INTERVAL;
        }
    }
    line.clear();
}

/// Everything that runs beside the main thread.
struct Threads {
    drainers: Vec<JoinHandle<io::Result<()>>>,
    watch: JoinHandle<Reduced>,
    compressors: Vec<JoinHandle<()>>,
    sink: JoinHandle<Outcome>,
}

impl Threads {
    fn drainer_ended(&self) -> bool {
        self.drainers.iter().any(JoinHandle::is_finished)
    }

    fn join_drainers(&mut self) -> Result<()> {
        self.drainers.drain(..).try_for_each(|drainer| join(drainer).context("reading a ring failed"))
    }

    fn join_rest(self) -> (Outcome, Reduced) {
        let reduced = join(self.watch);
        self.compressors.into_iter().for_each(join);
        (join(self.sink), reduced)
    }
}

/// What was taken out of the loaded programs.
struct Taken {
    packets: PacketSource,
    events: Option<EventRing>,
    switch: CaptureSwitch,
    containers: container::Tap,
    /// When there are conditions.
    tables: Option<Tables>,
    policy: Policy,
    /// When nobody is wanted at first.
    bell: Option<Bell>,
    translator: Translator,
}

fn start_threads(
    args: &RunArgs,
    recording: Recording<Folder>,
    progress: &Arc<Progress>,
    stop: &Arc<AtomicBool>,
    to_sink: &Sender<ToSink>,
    sink_messages: Receiver<ToSink>,
    Taken { packets, events, switch, translator, containers, tables, policy, bell }: Taken,
) -> Result<Threads> {
    let governor = Arc::new(Governor::new(args.compression_level));
    let packet_pool = Pool::new(PACKET_BATCHES);
    let event_pool = Pool::new(EVENT_BATCHES);
    let (job_sender, job_receiver) = jobs();
    let outlet = || Outlet { jobs: job_sender.clone(), sink: to_sink.clone(), stop: Arc::clone(stop) };

    let recycling = Recycling { packets: packet_pool.give, events: event_pool.give };
    let sink = Sink::new(recording, recycling, Arc::clone(progress), Arc::clone(&governor));
    let nice = args.nice;
    let sink = spawn("sink", move || {
        priority::give_way(nice);
        sink.run(&sink_messages)
    })?;
    let mut compressors = Vec::new();
    let dictionaries = Arc::new(DictionaryPool::default());
    for _ in 0..compressor_count(args) {
        let (jobs, sink, governor) = (job_receiver.clone(), to_sink.clone(), Arc::clone(&governor));
        let dictionaries = Arc::clone(&dictionaries);
        compressors.push(spawn("compressor", move || {
            priority::give_way(nice);
            compress::run(&jobs, &sink, &governor, dictionaries);
        })?);
    }
    let watch = Watch {
        ring: packets.gauge().context("cannot watch the packet ring")?,
        jobs: job_sender.clone(),
        sink: to_sink.clone(),
        governor,
        capture: CaptureGovernor::new(args.degrade_to.mode(), args.captures_headers_only()),
        switch,
        bell,
        stop: Arc::clone(stop),
    };
    let watch = spawn("watch", move || watch.run())?;
    let packets = PacketDrainer {
        ring: packets,
        // A tag may be put back.
        record_len_max: snaplen(args).0 as usize + TAG_LEN,
        pool: packet_pool.take,
        outlet: outlet(),
        held: Held::new(tables.clone(), policy),
    };
    let events = match events {
        Some(ring) => {
            let ended = Ended::new(tables);
            let (pool, outlet) = (event_pool.take, outlet());
            let drainer = EventDrainer { ring, translator, pool, outlet, containers, ended };
            spawn("events", move || drainer.run())?
        }
        None => {
            let silence = NoEvents { pool: event_pool.take, outlet: outlet() };
            spawn("events", move || silence.run())?
        }
    };
    let drainers = vec![spawn("packets", move || packets.run())?, events];
    Ok(Threads { drainers, watch, compressors, sink })
}

fn compressor_count(args: &RunArgs) -> usize {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    args.threads.map_or(processors.min(COMPRESSORS_MAX), usize::from)
}

fn counter_reader(intake: &Arc<Mutex<Intake>>) -> CounterReader {
    let intake = Arc::clone(intake);
    Box::new(move || intake.lock().unwrap_or_else(PoisonError::into_inner).counters())
}

/// Most bytes of a packet, and whether its headers alone are kept.
fn snaplen(args: &RunArgs) -> (u32, bool) {
    match args.snaplen {
        Snaplen::Headers => (LoadOptions::default().snaplen, true),
        Snaplen::Bytes(len) => (len, false),
    }
}

fn load_options(args: &RunArgs, rules: &RuleSet) -> LoadOptions {
    let (snaplen, headers_only) = snaplen(args);
    LoadOptions {
        snaplen,
        headers_only,
        payload_len: args.payload().len_max(),
        payload_per_flow_len: args.payload_per_flow,
        elide_local_copies: !args.keep_local_copies,
        filter: args.filter.as_ref().and_then(PacketFilter::of_sockets).cloned(),
        frame_filter: args.filter.as_ref().map(|filter| filter.frame.clone()),
        task_filters: with_bits(args)
            .filter_map(|(task, bit)| Some((task.filter.as_ref()?.of_sockets()?.clone(), bit)))
            .collect(),
        payload_tasks: payload_rules(args),
        interfaces: !args.interface.is_empty(),
        typed_packets: true,
        packet_ring_bytes: args.packet_buffer,
        event_ring_bytes: args.event_buffer,
        rules: rules.for_kernel(),
        arguments_len_max: args.arguments_size,
        environment_len_max: if args.environment.is_wanted() { args.environment_size } else { 0 },
        executable_mappings: args.executable_mappings,
        exclude_self: true,
    }
}

/// The tasks with the bits of their rules, which come after the first.
fn with_bits(args: &RunArgs) -> impl Iterator<Item = (&PayloadTask, u32)> {
    args.payload_tasks().iter().enumerate().map(|(index, task)| (task, 1 << (index + 1)))
}

/// The rules of tasks that want payload.
fn payload_rules(args: &RunArgs) -> u32 {
    with_bits(args).filter(|(task, _)| !task.skip_payload).fold(0, |bits, (_, bit)| bits | bit)
}

fn policy(args: &RunArgs, rules: &RuleSet) -> Policy {
    let of_packet = args.payload().len_max().unwrap_or(u32::MAX);
    Policy {
        container_rules: rules.for_kernel().container,
        payload_rules: payload_rules(args),
        payload_len: of_packet.min(args.payload_per_flow.unwrap_or(u32::MAX)),
    }
}

fn limits(args: &RunArgs) -> Limits {
    let most = args.max_disk.map_or(u64::MAX, |disk_len| disk_len / SEGMENTS_ON_DISK_MIN);
    Limits {
        segment_len: args.segment_size.min(most),
        segment_time: args.segment_time,
        disk_len_max: args.max_disk,
        sync: sync_policy(args),
        recipients: args.encrypt_to.clone(),
    }
}

fn sync_policy(args: &RunArgs) -> SyncPolicy {
    match args.fsync {
        Fsync::Never => SyncPolicy::Never,
        Fsync::Block => SyncPolicy::Block,
        Fsync::Interval => SyncPolicy::Interval(args.sync_interval.unwrap_or(SYNC_INTERVAL)),
    }
}

fn file_info(args: &RunArgs, hooks: BTreeMap<String, String>, missing: Vec<String>) -> FileInfo {
    FileInfo {
        capture_id: uuid::Uuid::new_v4().into_bytes().to_vec(),
        host: Some(host::describe()),
        recorder: Some(Recorder {
            name: "kcap-record".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            options: options(args),
            hooks,
            missing,
            payload_tasks: args.payload_tasks().iter().map(PayloadTask::to_proto).collect(),
        }),
        origin: Origin::Kernel.into(),
        ..FileInfo::default()
    }
}

/// The options in force, defaults included.
fn options(args: &RunArgs) -> BTreeMap<String, String> {
    let limits = limits(args);
    let seconds = |duration: Duration| format!("{}s", duration.as_secs_f64());
    let mut options = BTreeMap::from([
        ("snaplen", args.snaplen.to_string()),
        ("payload", args.payload().to_string()),
        ("segment-size", limits.segment_len.to_string()),
        ("segment-time", seconds(limits.segment_time)),
        ("packet-buffer", args.packet_buffer.to_string()),
        ("event-buffer", args.event_buffer.to_string()),
        ("compression-level", governor::name(args.compression_level)),
        ("threads", compressor_count(args).to_string()),
        ("arguments-size", args.arguments_size.to_string()),
        ("environment", args.environment.to_string()),
        ("environment-size", args.environment_size.to_string()),
        ("executable-mappings", args.executable_mappings.to_string()),
        ("nice", args.nice.to_string()),
        ("degrade-to", args.degrade_to.to_string()),
        ("docker-socket", args.docker_socket.to_string()),
        ("cri-socket", args.cri_socket.to_string()),
        ("fsync", args.fsync.to_string()),
        ("keep-local-copies", args.keep_local_copies.to_string()),
    ]);
    options.extend(args.payload_per_flow.map(|len| ("payload-per-flow", len.to_string())));
    if !args.interface.is_empty() {
        options.insert("interface", args.interface.join(" "));
    }
    options.extend(args.filter.as_ref().map(|filter| ("filter", filter.expression.clone())));
    options.extend(args.config.as_ref().map(|config| ("config", config.path.display().to_string())));
    if !args.payload_tasks().is_empty() {
        let names: Vec<&str> = args.payload_tasks().iter().map(|task| task.name.as_str()).collect();
        options.insert("payload-tasks", names.join(", "));
    }
    options.extend(args.duration.map(|duration| ("duration", seconds(duration))));
    if let SyncPolicy::Interval(interval) = limits.sync {
        options.insert("sync-interval", seconds(interval));
    }
    if !args.encrypt_to.is_empty() {
        let recipients: Vec<String> = args.encrypt_to.iter().map(ToString::to_string).collect();
        options.insert("encrypt-to", recipients.join(" "));
    }
    if !args.conditions.is_empty() {
        let conditions: Vec<String> = args.conditions.iter().map(ToString::to_string).collect();
        options.insert("where", conditions.join(" "));
        options.insert("follow-children", args.follow_children.to_string());
    }
    options.extend(args.max_disk.map(|len| ("max-disk", len.to_string())));
    options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    thread::Builder::new().name(format!("kcap-{name}")).spawn(body).context("cannot start a thread")
}

pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    // A panic has ended the process before.
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
