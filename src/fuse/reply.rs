//! Results as replies.

use std::ffi::OsStr;
use std::time::UNIX_EPOCH;

use fuser::{
    Errno, FileAttr, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry,
    ReplyStatfs, ReplyXattr,
};

use crate::vfs::{Attributes, FileKind, Space};

/// The transfer size that programs are advised to use, in bytes.
const PREFERRED_TRANSFER: u32 = 128 << 10;

/// The size of the blocks in which `statfs` counts, in bytes.
const BLOCK: u32 = 4096;

/// The name as text; the services keep names as Unicode only.
pub fn text(name: &OsStr) -> std::result::Result<String, Errno> {
    name.to_str().map(str::to_owned).ok_or(Errno::EILSEQ)
}

pub fn attr(attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.ino),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: attributes.mtime,
        mtime: attributes.mtime,
        ctime: attributes.ctime,
        crtime: UNIX_EPOCH,
        kind: file_type(attributes.kind),
        perm: attributes.mode,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: PREFERRED_TRANSFER,
        flags: 0,
    }
}

pub fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Folder => FileType::Directory,
        FileKind::File => FileType::RegularFile,
        FileKind::Link => FileType::Symlink,
    }
}

pub fn entered(reply: ReplyEntry, result: std::result::Result<Attributes, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&attributes.valid_for, &attr(&attributes), Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

pub fn counted(reply: ReplyStatfs, result: std::result::Result<Space, Errno>) {
    match result {
        Ok(space) => {
            let block = u64::from(BLOCK);
            let free = space.free / block;
            reply.statfs(space.total / block, free, free, 0, 0, BLOCK, 255, BLOCK);
        }
        Err(errno) => reply.error(errno),
    }
}

/// A list of names, each with its end.
pub fn send_names(reply: ReplyXattr, size: u32, names: std::result::Result<Vec<String>, Errno>) {
    let list = names.map(|names| {
        let names = names.into_iter();
        names.flat_map(|name| (name + "\0").into_bytes()).collect()
    });
    send_value(reply, size, list);
}

pub fn told(reply: ReplyAttr, result: std::result::Result<Attributes, Errno>) {
    match result {
        Ok(attributes) => reply.attr(&attributes.valid_for, &attr(&attributes)),
        Err(errno) => reply.error(errno),
    }
}

pub fn done(reply: ReplyEmpty, result: std::result::Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub fn send_value(reply: ReplyXattr, size: u32, value: std::result::Result<Vec<u8>, Errno>) {
    match value {
        Err(errno) => reply.error(errno),
        Ok(value) => match u32::try_from(value.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

pub fn opened(keep_cache: bool) -> FopenFlags {
    if keep_cache {
        FopenFlags::FOPEN_KEEP_CACHE
    } else {
        FopenFlags::empty()
    }
}
