//! The built program as a person or a script runs it: what it prints, its exit statuses, what it leaves behind.

mod accounts;
mod bus;
mod doctor;
mod help;
mod home;
mod keyring;
mod login;
mod messages;
mod secrets;
mod service;
mod terminal;
