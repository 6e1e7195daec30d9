//! Accounts that publish only, as their users meet them: the binary, a real mount, and the emulated MirrorAce and
//! Mirrored.to behind it.

#[path = "mount/publishing.rs"]
mod publishing;

/// Of the account `media`.
const KIND: &publishing::harness::Kind = &publishing::harness::kind::MIRRORACE;
