//! The contract suite, run on every provider there is.

#[path = "support/contract.rs"]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;
#[path = "support/yetishare_target.rs"]
mod yetishare_target;

use contract::Target;
use lockerfs::provider::mediafire::TokenVersion;
use lockerfs::sandbox::ErrorShape;
use mediafire_target::MediaFireTarget;
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
        quirks.plain_numbers = true;
        quirks.zone_minutes = -210;
        quirks.error_shape = ErrorShape::Plain;
        quirks.second_hop = std::time::Duration::from_millis(30);
    });
    let mut target = target.await;
    target.shares_token = false;
    Box::new(target)
}

contract_suite!(mediafire_with_token_v1, crate::mediafire_v1);
contract_suite!(mediafire_with_token_v2, crate::mediafire_v2);
contract_suite!(one_cloud_file_with_shared_token, crate::one_cloud_file);
contract_suite!(koramaup_with_token_of_its_own, crate::koramaup);
