//! The client for file content.
