//! (room: sandbox)
