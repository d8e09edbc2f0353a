//! A disk as slow as a test wants it: a file system whose writes really take their time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

/// Nothing is cached by the kernel: sizes change all the time.
const NO_TIME: Duration = Duration::ZERO;

/// A folder on a slow disk. The files live in the memory of the test, and the folder is gone when dropped.
#[derive(Debug)]
pub struct SlowDisk {
    files: Arc<Files>,
    /// Before the mount point goes, the mount has to.
    _session: BackgroundSession,
    folder: TempDir,
}

#[derive(Debug, Default)]
struct Files {
    by_number: Mutex<BTreeMap<u64, (OsString, Vec<u8>)>>,
    bytes_per_second: AtomicU64,
}

impl SlowDisk {
    /// A disk that takes so many bytes in a second.
    #[track_caller]
    pub fn new(bytes_per_second: u64) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let files = Arc::new(Files::default());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("kcap-slow-disk".to_owned())];
        let disk = Disk(Arc::clone(&files));
        let session = fuser::spawn_mount(disk, folder.path(), &config).expect("a mount: is there /dev/fuse?");
        let disk = Self { files, _session: session, folder };
        disk.set_speed(bytes_per_second);
        disk
    }

    /// Changes its speed.
    pub fn set_speed(&self, bytes_per_second: u64) {
        self.files.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its files and what is in them, by name.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> =
            self.files.lock().values().map(|(name, bytes)| (PathBuf::from(name), bytes.clone())).collect();
        files.sort();
        files
    }
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (OsString, Vec<u8>)>> {
        self.by_number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &OsStr) -> Option<INodeNo> {
        self.lock().iter().find(|(_, (known, _))| known == name).map(|(number, _)| INodeNo(*number))
    }

    fn attributes(&self, number: INodeNo) -> Option<FileAttr> {
        let files = self.lock();
        let (kind, size) = match number {
            INodeNo::ROOT => (FileType::Directory, 0),
            INodeNo(file) => (FileType::RegularFile, files.get(&file)?.1.len() as u64),
        };
        Some(FileAttr {
            ino: number,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

/// What the kernel asks of the disk, one request after the other.
struct Disk(Arc<Files>);

impl Disk {
    fn reply_attributes(&self, number: INodeNo, reply: ReplyAttr) {
        match self.0.attributes(number) {
            Some(attributes) => reply.attr(&NO_TIME, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.0.find(name).and_then(|number| self.0.attributes(number)) {
            Some(attributes) => reply.entry(&NO_TIME, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.reply_attributes(number, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.reply_attributes(number, reply);
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut files = self.0.lock();
        let number = files.last_key_value().map_or(INodeNo::ROOT.0, |(last, _)| *last) + 1;
        files.insert(number, (name.to_owned(), Vec::new()));
        drop(files);
        match self.0.attributes(INodeNo(number)) {
            Some(attributes) => {
                reply.created(&NO_TIME, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let speed = self.0.bytes_per_second.load(Ordering::Relaxed).max(1);
        thread::sleep(Duration::from_secs_f64(data.len() as f64 / speed as f64));
        match self.0.lock().get_mut(&number.0) {
            // Segments are only ever appended to.
            Some((_, bytes)) if bytes.len() as u64 == offset => {
                bytes.extend_from_slice(data);
                reply.written(data.len() as u32);
            }
            Some(_) => reply.error(Errno::EINVAL),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let files = self.0.lock();
        let Some((_, bytes)) = files.get(&number.0) else { return reply.error(Errno::ENOENT) };
        let begin = bytes.len().min(offset as usize);
        reply.data(&bytes[begin..bytes.len().min(begin + size as usize)]);
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.0.find(name) {
            Some(number) => {
                self.0.lock().remove(&number.0);
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (place, (number, (name, _))) in (0..).zip(self.0.lock().iter()).skip(offset as usize) {
            if reply.add(INodeNo(*number), place + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
