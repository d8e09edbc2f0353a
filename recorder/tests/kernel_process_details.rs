//! Processes: what is read at the moment of an exec, and what only that moment knows.

mod kernel;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::process::{self, Command, Stdio};

use kcap_recorder::probe::LoadOptions;
use kcap_recorder_ebpf::{
    FILE_FLAG_DELETED, FILE_FLAG_LOWER, FILE_FLAG_NAME_ALONE, FILE_FLAG_OVERLAY, FILE_FLAG_PRESENT,
    FILE_FLAG_SOCKET, FILE_FLAG_UPPER, FileFacts, MAPPING_ACTION_MMAP, MAPPING_ACTION_MPROTECT, MappingEvent,
    Program,
};

use kernel::{Event, Exec, Recorded, Session, options};

/// `VM_EXEC` and `VM_WRITE` of the kernel's `include/linux/mm.h`.
const VM_EXEC: u64 = 4;
const VM_WRITE: u64 = 2;

#[test]
fn an_exec_tells_its_binary_streams_environment_and_namespaces() {
    let Some(session) = Session::start(&options()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let program = folder.join("own-true");
    fs::copy("/bin/true", &program).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ports = [client.local_addr().unwrap().port(), listener.local_addr().unwrap().port()];
    let mut child = Command::new("/bin/sh")
        .args([OsStr::new("-c"), OsStr::new("cd \"$0\" && exec ./own-true"), folder.as_os_str()])
        .env_clear()
        .env("TOKEN", "secret")
        .stdin(Stdio::from(OwnedFd::from(client)))
        .stdout(File::create(folder.join("out")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.wait().unwrap();
    let found = fs::metadata(&program).unwrap();
    let file_change = session.loaded().hooks.contains_key(Program::FileChange.name());
    let recorded = session.finish();

    let exec = last_exec(&recorded, child.id());
    assert_eq!(exec.filename, b"./own-true");
    assert_eq!(path(&exec.path), program.as_os_str().as_bytes());
    let binary = &exec.event.binary;
    assert_eq!((binary.inode, u32::from(binary.mode)), (found.ino(), found.mode()));
    let ctime_ns = found.ctime() as u64 * 1_000_000_000 + found.ctime_nsec() as u64;
    assert_eq!(binary.ctime_ns, ctime_ns);
    assert_eq!((binary.device >> 20, binary.device & 0xf_ffff), (major(found.dev()), minor(found.dev())));
    assert!(!file_change || binary.modifier.pid == process::id(), "this process copied it: {binary:?}");
    assert!(exec.event.code_end > exec.event.code_start && exec.event.code_start > 0);

    let [stdin, stdout, stderr] = &exec.event.streams;
    assert_eq!(stdin.file.flags & FILE_FLAG_SOCKET, FILE_FLAG_SOCKET);
    assert_eq!([stdin.socket.local_port, stdin.socket.remote_port], ports);
    assert_eq!(stdin.socket.local_address[..4], [127, 0, 0, 1]);
    assert_eq!(path(&exec.stream_paths[1]), folder.join("out").as_os_str().as_bytes());
    assert_eq!(stdout.file.mode & 0o170_000, 0o100_000, "a regular file");
    assert_eq!(
        (path(&exec.stream_paths[2]), stderr.file.mode & 0o170_000),
        (b"/dev/null".to_vec(), 0o020_000)
    );
    // The shell adds a variable of its own.
    assert!(exec.environment.split(|byte| *byte == 0).any(|entry| entry == b"TOKEN=secret"));
    assert_eq!(exec.event.environment_len_total as usize, exec.environment.len());

    let namespaces = &exec.event.namespaces;
    let inode = |kind: &str| fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
    assert_eq!(u64::from(namespaces.pid_namespace), inode("pid"));
    assert_eq!(u64::from(namespaces.mount_namespace), inode("mnt"));
    assert_eq!((namespaces.pid, namespaces.parent_pid), (child.id(), process::id()));
}

#[test]
fn the_numbers_in_a_namespace_are_its_own() {
    let Some(session) = Session::start(&options()) else { return };
    let script = "/bin/true; exec /bin/true";
    let mut child = Command::new("unshare").args(["--pid", "--fork", "sh", "-c", script]).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let recorded = session.finish();
    // unshare forks the namespace's first process, which forks the second.
    let first = forks_of(&recorded, child.id()).next().expect("the first process").child.pid;
    let fork = forks_of(&recorded, child.id()).next().unwrap();
    assert_eq!((fork.namespaces.pid, fork.namespaces.parent_pid), (1, 0), "its parent is outside");
    assert_ne!(fork.namespaces.pid_namespace, fork.namespaces.parent_pid_namespace);
    let second = forks_of(&recorded, first).next().expect("the second process");
    assert_eq!((second.namespaces.pid, second.namespaces.parent_pid), (2, 1));
    assert_eq!(second.namespaces.pid_namespace, fork.namespaces.pid_namespace);
    assert_eq!(last_exec(&recorded, first).event.namespaces.pid, 1);
}

#[test]
fn arguments_of_any_bytes_and_of_a_mebibyte() {
    // The kernel takes up to 128 KiB an argument (`MAX_ARG_STRLEN`).
    const ARGUMENT_LEN: usize = 100_000;
    const ARGUMENTS: usize = 11;
    let large = LoadOptions { arguments_len_max: 32_767, ..options() };
    for (options, kept_len) in [(options(), 4096), (large, 32_767)] {
        let Some(session) = Session::start(&options) else { return };
        let bytes: Vec<u8> = (1..=u8::MAX).collect();
        let mut any =
            Command::new("/bin/true").arg(OsString::from_vec(bytes.clone())).arg("").spawn().unwrap();
        any.wait().unwrap();
        let long = "x".repeat(ARGUMENT_LEN);
        let mut mebibyte = Command::new("/bin/true").args([&long; ARGUMENTS]).spawn().unwrap();
        mebibyte.wait().unwrap();
        let recorded = session.finish();
        let expected = [b"/bin/true\0", &bytes[..], b"\0\0"].concat();
        assert_eq!(last_exec(&recorded, any.id()).arguments, expected);
        let Exec { event, arguments, .. } = last_exec(&recorded, mebibyte.id());
        assert_eq!(event.arguments_len_total as usize, 10 + ARGUMENTS * (ARGUMENT_LEN + 1));
        assert_eq!(arguments.len(), kept_len);
    }
}

#[test]
fn files_of_no_directory_and_of_overlays_are_told_as_such() {
    let Some(session) = Session::start(&options()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let deleted = folder.path().join("deleted");
    fs::copy("/bin/sleep", &deleted).unwrap();
    let mut unlinked = Command::new("sh")
        .args([
            OsStr::new("-c"),
            OsStr::new("exec 9<\"$0\"; rm \"$0\"; exec /proc/self/fd/9 0"),
            deleted.as_os_str(),
        ])
        .spawn()
        .unwrap();
    assert!(unlinked.wait().unwrap().success());

    // In a mount namespace of its own, so that nothing stays mounted.
    let overlay = "cd \"$0\" && mount -t tmpfs none . && cd \"$0\" && mkdir lower upper work merged && \
        cp /bin/true lower/in-image && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged && \
        cp /bin/true merged/added && merged/in-image && merged/added && true";
    let status = Command::new("unshare")
        .args([OsStr::new("--mount"), OsStr::new("sh"), OsStr::new("-c"), OsStr::new(overlay)])
        .arg(folder.path())
        .status()
        .unwrap();
    let file_change = session.loaded().hooks.contains_key(Program::FileChange.name());
    let recorded = session.finish();

    let exec = last_exec(&recorded, unlinked.id());
    assert_eq!(exec.event.binary.flags & FILE_FLAG_DELETED, FILE_FLAG_DELETED);
    assert_eq!(path(&exec.path), deleted.as_os_str().as_bytes());
    if !status.success() {
        println!("skipped: this kernel mounts no overlay");
        return;
    }
    let layer = |name: &str| {
        let exec = execs(&recorded).find(|exec| exec.filename == name.as_bytes()).expect(name);
        let merged = folder.path().join(name);
        assert_eq!(path(&exec.path), merged.as_os_str().as_bytes());
        exec.event.binary
    };
    let (lower, upper) = (layer("merged/in-image"), layer("merged/added"));
    let layers = FILE_FLAG_OVERLAY | FILE_FLAG_LOWER | FILE_FLAG_UPPER;
    assert_eq!(lower.flags & layers, FILE_FLAG_OVERLAY | FILE_FLAG_LOWER);
    assert_eq!(upper.flags & layers, FILE_FLAG_OVERLAY | FILE_FLAG_UPPER);
    if file_change {
        let copier = execs(&recorded).find(|exec| exec.event.head.process.pid == upper.modifier.pid);
        assert!(copier.expect("who added it").filename.ends_with(b"/cp"));
    }
}

#[test]
fn memory_that_becomes_executable_is_told() {
    let Some(session) = Session::start(&LoadOptions { executable_mappings: true, ..options() }) else {
        return;
    };
    let page_len = 4096;
    let binary = File::open("/proc/self/exe").unwrap();
    // The kernel's helper doesn't wait for memory that another thread, here of another test, is just changing.
    const ATTEMPTS: usize = 50;
    // SAFETY: mappings of this test's own, made, changed and removed here.
    let map = || unsafe {
        use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE, mmap, mprotect, munmap};
        use std::os::fd::AsRawFd;
        let none = std::ptr::null_mut();
        let anonymous = mmap(none, page_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_eq!(mprotect(anonymous, page_len, PROT_READ | PROT_EXEC), 0);
        let file = mmap(none, page_len, PROT_READ | PROT_EXEC, MAP_PRIVATE, binary.as_raw_fd(), 0);
        assert_ne!(mprotect(none, page_len, PROT_EXEC), 0, "nothing lies there");
        munmap(anonymous, page_len);
        munmap(file, page_len);
        (anonymous as u64, file as u64)
    };
    let (anonymous, files): (Vec<u64>, Vec<u64>) = (0..ATTEMPTS).map(|_| map()).unzip();
    let recorded = session.finish();
    let own: Vec<(&MappingEvent, Vec<u8>)> = recorded
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Mapping { event, path: names } if event.head.process.pid == process::id() => {
                Some((event, path(names)))
            }
            _ => None,
        })
        .collect();
    let mprotects: Vec<&MappingEvent> =
        own.iter().map(|(event, _)| *event).filter(|event| event.action == MAPPING_ACTION_MPROTECT).collect();
    assert_eq!(mprotects.len(), ATTEMPTS);
    for changed in &mprotects {
        assert!(anonymous.contains(&changed.start) && changed.end == changed.start + page_len as u64);
        assert_eq!((changed.requested_protection, changed.file), (5, FileFacts::default()));
    }
    if mprotects.iter().any(|changed| changed.new_vm_flags != 0) {
        let told = mprotects.iter().find(|changed| changed.new_vm_flags != 0 && changed.old_vm_flags != 0);
        let changed = told.expect("one that no other thread was in the way of");
        assert_eq!(changed.new_vm_flags & (VM_EXEC | VM_WRITE), VM_EXEC);
        assert_eq!(changed.old_vm_flags & (VM_EXEC | VM_WRITE), VM_WRITE);
        let mut mmaps = own.iter().filter(|(event, _)| {
            event.action == MAPPING_ACTION_MMAP && files.contains(&event.start) && event.file.flags != 0
        });
        let (mapped, path) = mmaps.next().expect("a file that no other thread was in the way of");
        assert_eq!((mapped.old_vm_flags, mapped.mmap_flags), (0, libc::MAP_PRIVATE as u64));
        assert_eq!(mapped.file.flags & (FILE_FLAG_PRESENT | FILE_FLAG_NAME_ALONE), FILE_FLAG_PRESENT);
        assert_eq!(path, std::env::current_exe().unwrap().as_os_str().as_bytes());
    }
    assert_eq!(own.iter().filter(|(event, _)| event.start == 0).count(), 0, "what failed is not told");
}

#[test]
fn what_the_recorder_does_itself_is_left_out() {
    let excluding = LoadOptions { exclude_self: true, executable_mappings: true, ..options() };
    let Some(session) = Session::start(&excluding) else { return };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"to itself", socket.local_addr().unwrap()).unwrap();
    let mut child = Command::new("/bin/true").spawn().unwrap();
    child.wait().unwrap();
    drop(socket);
    let recorded = session.finish();
    let own = recorded.events.iter().find(|event| event.head().process.pid == process::id());
    assert!(own.is_none(), "{own:?}");
    assert_eq!(last_exec(&recorded, child.id()).event.parent.pid, process::id(), "others are recorded");
}

fn execs(recorded: &Recorded) -> impl Iterator<Item = &Exec> {
    recorded.events.iter().filter_map(|event| match event {
        Event::Exec(exec) => Some(&**exec),
        _ => None,
    })
}

fn last_exec(recorded: &Recorded, pid: u32) -> &Exec {
    execs(recorded).filter(|exec| exec.event.head.process.pid == pid).last().expect("no exec")
}

fn forks_of(recorded: &Recorded, pid: u32) -> impl Iterator<Item = &kcap_recorder_ebpf::ForkEvent> {
    recorded.events.iter().filter_map(move |event| match event {
        Event::Fork(fork) if fork.head.process.pid == pid => Some(fork),
        _ => None,
    })
}

/// A path from the names of a record, the last one first.
fn path(names: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = names.split(|byte| *byte == 0).collect();
    names.pop();
    names.iter().rev().flat_map(|name| [b"/", *name].concat()).collect()
}

fn major(device: u64) -> u32 {
    libc::major(device)
}

fn minor(device: u64) -> u32 {
    libc::minor(device)
}
