//! (room: download)
