//! The requests of the kernel, one method each.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use crate::vfs::{Error, TimeChange};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::adapter::Adapter;
use super::dispatch::{now, now_if_known};
use super::reply::{attr, counted, done, entered, file_type, opened, send_names, send_value, text, told};

/// The largest write and read-ahead that is asked of the kernel, in bytes.
const LARGEST_TRANSFER: u32 = 1 << 20;

/// The most that one answer can tell to have been copied, in whole pages.
const LARGEST_COPY: u64 = 0xffff_f000;

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
        ] {
            if let Err(missing) = config.add_capabilities(wanted) {
                tracing::debug!(?missing, "the kernel lacks a capability");
            }
        }
        // Each of these answers an error with the nearest value that it takes.
        if let Err(nearest) = config.set_max_write(LARGEST_TRANSFER) {
            tracing::debug!(nearest, "the kernel bounds the size of writes");
        }
        if let Err(nearest) = config.set_max_readahead(LARGEST_TRANSFER)
            && config.set_max_readahead(nearest).is_err()
        {
            tracing::debug!(nearest, "read-ahead left to the kernel");
        }
        if config.set_max_background(64).is_err() {
            tracing::debug!("the number of background requests is left to the kernel");
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Ok(name) = text(name) else {
            return reply.error(Errno::ENOENT);
        };
        let vfs = self.vfs.clone();
        match now_if_known("lookup", || vfs.lookup_known(parent.0, &name)) {
            Some(result) => entered(reply, result),
            None => {
                let held = self.in_flight.enter([parent.0]);
                let work = async move { vfs.lookup(parent.0, &name).await };
                self.later_entered("lookup", held, reply, self.holding([parent.0], work));
            }
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        // Nothing is answered to a forget, not even an error.
        let _ = now("forget", || {
            self.vfs.forget(ino.0, count);
            Ok(())
        });
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        if let Some(result) = now_if_known("getattr", || self.vfs.attributes_known(ino.0)) {
            return told(reply, result);
        }
        let vfs = self.vfs.clone();
        let work = self.holding([ino.0], async move { vfs.attributes(ino.0) });
        self.later("getattr", work, move |result| told(reply, result));
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => TimeChange::At(time),
            TimeOrNow::Now => TimeChange::Now,
        });
        let (vfs, has_handle) = (self.vfs.clone(), handle.is_some());
        let work = async move {
            let now_is = vfs.attributes(ino.0)?;
            if uid.is_some_and(|uid| uid != now_is.uid) || gid.is_some_and(|gid| gid != now_is.gid) {
                return Err(Error::plain(libc::EPERM));
            }
            if let Some(size) = size {
                vfs.set_size(ino.0, size, has_handle).await?;
            }
            if let Some(mtime) = mtime {
                vfs.set_mtime(ino.0, mtime).await?;
            }
            if let Some(mode) = mode {
                vfs.set_mode(ino.0, mode).await?;
            }
            vfs.attributes(ino.0)
        };
        self.later("setattr", self.holding([ino.0], work), move |result| {
            told(reply, result)
        });
    }

    fn mknod(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        if mode & libc::S_IFMT != libc::S_IFREG {
            return reply.error(Errno::EPERM);
        }
        let name = match text(name) {
            Ok(name) => name,
            Err(errno) => return reply.error(errno),
        };
        let vfs = self.vfs.clone();
        let held = self.in_flight.enter([parent.0]);
        let work = self.holding([parent.0], async move {
            let (attributes, opened) = vfs.create(parent.0, &name, mode).await?;
            let flushed = vfs.flush(opened.handle).await;
            vfs.release(opened.handle).await;
            flushed.map(|()| attributes)
        });
        self.later_entered("mknod", held, reply, work);
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let name = match text(name) {
            Ok(name) => name,
            Err(errno) => return reply.error(errno),
        };
        let vfs = self.vfs.clone();
        let work = async move { vfs.make_folder(parent.0, &name, mode).await };
        let work = self.holding([parent.0], work);
        self.later_entered("mkdir", self.in_flight.enter([parent.0]), reply, work);
    }

    fn symlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let name = match text(name) {
            Ok(name) => name,
            Err(errno) => return reply.error(errno),
        };
        let (vfs, target) = (self.vfs.clone(), target.as_os_str().as_bytes().to_vec());
        let held = self.in_flight.enter([parent.0]);
        let work = async move { vfs.make_link(parent.0, &name, &target).await };
        self.later_entered("symlink", held, reply, self.holding([parent.0], work));
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let vfs = self.vfs.clone();
        let work = self.holding([ino.0], async move { vfs.read_link(ino.0).await });
        self.later("readlink", work, move |result| match result {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Ok(name) = text(name) else {
            return reply.error(Errno::ENOENT);
        };
        let vfs = self.vfs.clone();
        let held = self.in_flight.enter([parent.0]);
        let work = self.holding([parent.0], async move { vfs.unlink(parent.0, &name).await });
        self.later_done("unlink", held, reply, work);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Ok(name) = text(name) else {
            return reply.error(Errno::ENOENT);
        };
        let vfs = self.vfs.clone();
        let work = self.holding(
            [parent.0],
            async move { vfs.remove_folder(parent.0, &name).await },
        );
        self.later_done("rmdir", self.in_flight.enter([parent.0]), reply, work);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) || flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let keep = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (name, new_name) = match (text(name), text(new_name)) {
            (Ok(name), Ok(new_name)) => (name, new_name),
            (Err(errno), _) | (_, Err(errno)) => return reply.error(errno),
        };
        let vfs = self.vfs.clone();
        let held = self.in_flight.enter([parent.0, new_parent.0]);
        let (begun, deadline) = (Instant::now(), self.deadline());
        let work = self.holding([parent.0, new_parent.0], async move {
            let renamed = vfs.rename(parent.0, &name, new_parent.0, &new_name, keep).await;
            if renamed.is_err() || begun.elapsed() >= deadline {
                // The kernel takes it for not done, whatever of it was.
                vfs.distrust_names([(parent.0, name), (new_parent.0, new_name)]);
            }
            renamed
        });
        self.later_done("rename", held, reply, work);
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let truncate = write && flags.0 & libc::O_TRUNC != 0;
        let vfs = self.vfs.clone();
        self.later_opened(
            "open",
            self.holding([ino.0], async move { vfs.open(ino.0, write, truncate).await }),
            move |result| match result {
                Ok(file) => reply.opened(FileHandle(file.handle), opened(file.keep_cache)),
                Err(errno) => reply.error(errno),
            },
            |file| (file.handle, None),
        );
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let name = match text(name) {
            Ok(name) => name,
            Err(errno) => return reply.error(errno),
        };
        let vfs = self.vfs.clone();
        let held = self.in_flight.enter([parent.0]);
        self.later_opened(
            "create",
            self.holding([parent.0], async move { vfs.create(parent.0, &name, mode).await }),
            move |result| {
                match result {
                    Ok((attributes, file)) => reply.created(
                        &attributes.valid_for,
                        &attr(&attributes),
                        Generation(0),
                        FileHandle(file.handle),
                        opened(file.keep_cache),
                    ),
                    Err(errno) => reply.error(errno),
                }
                drop(held);
            },
            |(attributes, file)| (file.handle, Some(attributes.ino)),
        );
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let range = offset..offset.saturating_add(u64::from(size));
        let vfs = self.vfs.clone();
        match now_if_known("read", || vfs.read_known(handle.0, range.clone())) {
            Some(Ok(bytes)) => reply.data(&bytes),
            Some(Err(errno)) => reply.error(errno),
            None => {
                let held = self.in_flight.enter([ino.0]);
                self.later(
                    "read",
                    async move { vfs.read(handle.0, range).await },
                    move |result| {
                        match result {
                            Ok(bytes) => reply.data(&bytes),
                            Err(errno) => reply.error(errno),
                        }
                        drop(held);
                    },
                );
            }
        }
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // The kernel never sends more than `LARGEST_TRANSFER`.
        let written = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let vfs = self.vfs.clone();
        match now_if_known("write", || vfs.write_known(handle.0, offset, data)) {
            Some(Ok(())) => reply.written(written),
            Some(Err(errno)) => reply.error(errno),
            None => {
                let data = data.to_vec();
                self.later(
                    "write",
                    async move { vfs.write(handle.0, offset, &data).await },
                    move |result| match result {
                        Ok(()) => reply.written(written),
                        Err(errno) => reply.error(errno),
                    },
                );
            }
        }
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_from: INodeNo,
        from: FileHandle,
        from_offset: u64,
        _ino_to: INodeNo,
        to: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let vfs = self.vfs.clone();
        self.later(
            "copy",
            async move {
                let range = from_offset..from_offset.saturating_add(length.min(LARGEST_COPY));
                vfs.copy_range(from.0, range, to.0, to_offset).await
            },
            move |result| match result {
                // Never more than was asked for.
                Ok(Some(copied)) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
                // The kernel then copies the bytes.
                Ok(None) => reply.error(Errno::EOPNOTSUPP),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        self.later_unbounded("close", async move { vfs.flush(handle.0).await }, move |result| {
            done(reply, result)
        });
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        self.later_unbounded(
            "release",
            async move {
                vfs.release(handle.0).await;
                Ok(())
            },
            move |result| done(reply, result),
        );
    }

    fn fsync(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        self.later_unbounded("fsync", async move { vfs.fsync(handle.0).await }, move |result| {
            done(reply, result)
        });
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let answer = |reply: ReplyOpen, result| match result {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        };
        if let Some(result) = now_if_known("opendir", || self.vfs.open_directory_known(ino.0)) {
            return answer(reply, result);
        }
        let vfs = self.vfs.clone();
        let work = self.holding([ino.0], async move { vfs.open_directory(ino.0) });
        self.later("opendir", work, move |result| answer(reply, result));
    }

    fn readdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let vfs = self.vfs.clone();
        self.later(
            "readdir",
            async move { vfs.stream(handle.0, offset == 0).await },
            move |result| match result {
                Ok(entries) => {
                    for (entry, next) in entries.iter().zip(1u64..).skip(position(offset)) {
                        if reply.add(INodeNo(entry.ino), next, file_type(entry.kind), &entry.name) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let vfs = self.vfs.clone();
        let known = self.vfs.clone();
        self.later(
            "readdirplus",
            async move { vfs.stream(handle.0, offset == 0).await },
            move |result| match result {
                Ok(entries) => {
                    for (entry, next) in entries.iter().zip(1u64..).skip(position(offset)) {
                        let held = !entry.is_dot();
                        let now = if held {
                            known.remember(entry.ino)
                        } else {
                            known.attributes(entry.ino).ok()
                        };
                        // What was removed since the stream was begun is left out.
                        let Some(now) = now else { continue };
                        let attributes = attr(&now);
                        let full = reply.add(
                            attributes.ino,
                            next,
                            &entry.name,
                            &now.valid_for,
                            &attributes,
                            Generation(0),
                        );
                        if full {
                            if held {
                                known.forget(entry.ino, 1);
                            }
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let released = now("releasedir", || {
            self.vfs.release_directory(handle.0);
            Ok(())
        });
        done(reply, released);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        // Names are journaled or on the service before their operations return.
        reply.ok();
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        if let Some(result) = now_if_known("statfs", || self.vfs.space_known(ino.0).map(Ok)) {
            return counted(reply, result);
        }
        let vfs = self.vfs.clone();
        let work = self.holding([ino.0], async move { Ok(vfs.space(ino.0)) });
        self.later("statfs", work, move |result| counted(reply, result));
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let Some(name) = name.to_str() else {
            return reply.error(Errno::ENODATA);
        };
        match now_if_known("getxattr", || self.vfs.xattr_known(ino.0, name)) {
            Some(result) => send_value(reply, size, result),
            None => {
                let (vfs, name) = (self.vfs.clone(), name.to_owned());
                let work = self.holding([ino.0], async move { vfs.xattr(ino.0, &name).await });
                self.later("getxattr", work, move |result| send_value(reply, size, result));
            }
        }
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        // `ls -l` asks for each entry.
        if let Some(names) = now_if_known("listxattr", || self.vfs.list_xattrs_known(ino.0)) {
            return send_names(reply, size, names);
        }
        let vfs = self.vfs.clone();
        let work = self.holding([ino.0], async move { vfs.list_xattrs(ino.0) });
        self.later("listxattr", work, move |names| send_names(reply, size, names));
    }

    fn setxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    fn removexattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
