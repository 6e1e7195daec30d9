//! The client for calls.
