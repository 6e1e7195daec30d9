//! What holds on a mounted account of any service. Each test binary takes these modules and says by its
//! constant `KIND` which service is behind the mount; a test asks the kind for capabilities and budgets and
//! never for its name.

mod budgets;
mod caching;
mod command;
mod conflicts;
mod copying;
mod crash;
mod deleting;
mod elsewhere;
mod fault_matrix;
mod faults;
mod handles;
pub mod harness;
mod links;
mod local_only;
mod modes;
mod names;
mod outage;
mod patience;
mod programs;
mod reading;
mod reading_ahead;
mod renaming;
mod semantics;
mod steering;
mod symlinks;
mod system;
mod tools;
mod tree;
mod two_mounts;
mod writing;
