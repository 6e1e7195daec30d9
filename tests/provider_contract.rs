//! The contract suite, run on every provider there is.

#[path = "support/contract.rs"]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;

use contract::Target;
use lockerfs::provider::mediafire::TokenVersion;
use mediafire_target::MediaFireTarget;

/// With what is not known for certain of the service turned the other way.
async fn mediafire_v1() -> Box<dyn Target> {
    let target = MediaFireTarget::start_with(TokenVersion::V1, |options| {
        options.quirks.error_status = 400;
        options.quirks.api_key = Some("a key of the application".to_owned());
        options.quirks.sparse_polls = false;
        options.quirks.redirect_links = true;
    });
    Box::new(target.await)
}

async fn mediafire_v2() -> Box<dyn Target> {
    Box::new(MediaFireTarget::start(TokenVersion::V2).await)
}

contract_suite!(mediafire_with_token_v1, crate::mediafire_v1);
contract_suite!(mediafire_with_token_v2, crate::mediafire_v2);
