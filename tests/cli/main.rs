//! The built program as a person or a script runs it: what it prints, its exit statuses, what it leaves behind.

mod accounts;
mod adding;
mod bus;
mod doctor;
mod file_calls;
mod file_details;
mod file_links;
mod file_trash;
mod file_versions;
mod file_zip;
mod help;
mod home;
mod keyring;
mod login;
mod messages;
mod other_services;
mod output;

mod secrets;
mod service;
mod terminal;
mod world;
