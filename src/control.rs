//! (room: control)
