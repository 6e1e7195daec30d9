//! The contract suite, run on every provider there is.

#[path = "support/contract.rs"]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;
#[path = "support/mirror_target.rs"]
mod mirror_target;
#[path = "support/yetishare_target.rs"]
mod yetishare_target;

use contract::Target;
use lockerfs::provider::mediafire::TokenVersion;
use lockerfs::sandbox::{Account, ErrorShape};
use mediafire_target::MediaFireTarget;
use mirror_target::MirrorTarget;
use yetishare_target::YetiShareTarget;

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

async fn one_cloud_file() -> Box<dyn Target> {
    Box::new(YetiShareTarget::start_with("1cloudfile", |_, _| {}).await)
}

/// With what is not known for certain of the hosts turned the other way.
async fn koramaup() -> Box<dyn Target> {
    let target = YetiShareTarget::start_with("koramaup", |_, options| {
        let quirks = &mut options.quirks.yetishare;
        quirks.strict_ranges = true;
        quirks.folder_status = true;
        quirks.numbered_copies = true;
        quirks.plain_numbers = true;
        quirks.zone_minutes = -210;
        quirks.error_shape = ErrorShape::Plain;
        quirks.second_hop = std::time::Duration::from_millis(30);
    });
    let mut target = target.await;
    target.shares_token = false;
    Box::new(target)
}

async fn mirrorace() -> Box<dyn Target> {
    Box::new(MirrorTarget::start(|name| Account::mirrorace(name), |_| {}).await)
}

/// With what is not known for certain of the service turned the other way.
async fn mirrorace_otherwise() -> Box<dyn Target> {
    let target = MirrorTarget::start(
        |name| Account::mirrorace(name),
        |options| {
            let quirks = &mut options.quirks.mirrorace;
            quirks.plain_null = true;
            quirks.plain_numbers = true;
        },
    );
    Box::new(target.await)
}

async fn mirrored_to() -> Box<dyn Target> {
    Box::new(MirrorTarget::start(|name| Account::mirrored_to(name), |_| {}).await)
}

/// With what is not known for certain of the service turned the other way.
async fn mirrored_to_otherwise() -> Box<dyn Target> {
    let target = MirrorTarget::start(
        |name| Account::mirrored_to(name),
        |options| {
            let quirks = &mut options.quirks.mirrored_to;
            quirks.text_numbers = true;
            quirks.uploads_count = false;
            quirks.user_mirrors = 2;
        },
    );
    Box::new(target.await)
}

contract_suite!(mirrorace_as_documented, crate::mirrorace);
contract_suite!(mirrorace_as_it_may_be, crate::mirrorace_otherwise);
contract_suite!(mirrored_to_as_documented, crate::mirrored_to);
contract_suite!(mirrored_to_as_it_may_be, crate::mirrored_to_otherwise);
contract_suite!(mediafire_with_token_v1, crate::mediafire_v1);
contract_suite!(mediafire_with_token_v2, crate::mediafire_v2);
contract_suite!(one_cloud_file_with_shared_token, crate::one_cloud_file);
contract_suite!(koramaup_with_token_of_its_own, crate::koramaup);
