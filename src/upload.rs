//! (room: upload)
