//! The built program as a person or a script runs it: what it prints, its exit statuses, what it leaves behind.

mod accounts;
mod home;
mod messages;
mod service;
mod terminal;
