//! (room: fuse)
