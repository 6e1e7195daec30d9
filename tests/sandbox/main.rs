//! The sandbox's MediaFire seen from outside, over plain HTTP.

#[path = "../support/sandbox_caller.rs"]
mod sandbox_caller;

mod items;
mod login;
mod uploads;
