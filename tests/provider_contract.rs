//! The contract suite, run on every provider there is.

#[path = "support/contract.rs"]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;

use contract::Target;
use lockerfs::provider::mediafire::TokenVersion;
use mediafire_target::MediaFireTarget;

async fn mediafire_v1() -> Box<dyn Target> {
    Box::new(MediaFireTarget::start(TokenVersion::V1).await)
}

async fn mediafire_v2() -> Box<dyn Target> {
    Box::new(MediaFireTarget::start(TokenVersion::V2).await)
}

contract_suite!(mediafire_with_token_v1, crate::mediafire_v1);
contract_suite!(mediafire_with_token_v2, crate::mediafire_v2);
