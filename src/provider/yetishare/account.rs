//! The account as a whole: who it is, what it may hold, what it holds.
//!
//! Hosts do not tell the space in use, so it is summed up from one listing of the top folder, in which each
//! folder tells the size of all that is in it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::call::Api;
use super::errors::Meaning;
use super::wire::{Node, Params};
use super::{folders, wire};
use crate::provider::json::Parsed;
use crate::provider::{AccountInfo, Capability, ErrorKind, ProviderError, Result, Retry};

const INFO: &str = "account/info";
const PACKAGE: &str = "account/package";

/// How long the account's plan is taken as it was told.
const PLAN_LIFE: Duration = Duration::from_secs(3600);

/// What was told of the account.
#[derive(Default)]
pub(super) struct Account(Mutex<Told>);

#[derive(Default)]
struct Told {
    plan: Option<(Plan, Instant)>,
    used: Option<u64>,
}

/// Limits are `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plan {
    owner: Option<String>,
    storage: Option<u64>,
    file_size: Option<u64>,
    may_upload: bool,
}

impl Account {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes were added.
    pub(super) fn grow(&self, size: u64) {
        if let Some(used) = &mut self.told().used {
            *used = used.saturating_add(size);
        }
    }
}

pub(super) async fn info(api: &Api) -> Result<AccountInfo> {
    let can_list = api.capabilities().has(Capability::List);
    if !can_list {
        // Without the listing nothing else would ask the host.
        api.account.told().plan = None;
    }
    let plan = plan(api).await?;
    let storage_used = if can_list { used(api).await? } else { None };
    Ok(AccountInfo {
        owner: plan.owner,
        storage_limit: plan.storage,
        storage_used,
        max_file_size: smaller(plan.file_size, api.post_limit.largest(Instant::now())),
    })
}

/// Whether the account takes a file of this size, as far as is known or can be asked for.
pub(super) async fn check_room(api: &Api, operation: &'static str, size: u64) -> Result<()> {
    let plan = plan(api).await?;
    api.need(Capability::Write, operation)?;
    if let Some(largest) = smaller(plan.file_size, api.post_limit.largest(Instant::now()))
        && size > largest
    {
        let message = format!("the service takes no file larger than {largest} bytes");
        return Err(refused(ErrorKind::TooLarge, operation, message, size));
    }
    let Some(limit) = plan.storage else {
        return Ok(());
    };
    let full = |used: u64| size > limit.saturating_sub(used);
    if full(0) {
        let message = format!("the account holds no more than {limit} bytes");
        return Err(refused(ErrorKind::QuotaExceeded, operation, message, size));
    }
    let told = api.account.told().used;
    if told.is_some_and(|used| !full(used)) || !api.capabilities().has(Capability::List) {
        return Ok(());
    }
    // Never asked, or full when it was asked last.
    match used(api).await? {
        Some(used) if full(used) => {
            let message = format!("the account's storage is full: {used} of {limit} bytes are used");
            Err(refused(ErrorKind::QuotaExceeded, operation, message, size))
        }
        _ => Ok(()),
    }
}

fn refused(kind: ErrorKind, operation: &'static str, message: String, size: u64) -> ProviderError {
    ProviderError::new(kind, Retry::Never, operation, message).with_context("bytes", size)
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

async fn plan(api: &Api) -> Result<Plan> {
    let kept = api.account.told().plan.clone();
    if let Some((plan, asked)) = kept
        && asked.elapsed() < PLAN_LIFE
    {
        return Ok(plan);
    }
    let (info, package) = futures_util::future::try_join(ask(api, INFO), ask(api, PACKAGE)).await?;
    let plan = read_plan(info.as_deref(), package.as_deref());
    api.account.told().plan = Some((plan.clone(), Instant::now()));
    if !plan.may_upload && api.withdraw(Capability::Write) {
        let host = api.base().host_str();
        tracing::warn!(host, "the account's plan does not include uploads");
    }
    Ok(plan)
}

/// `None` where the host does not tell: its limits are then met when they are met.
async fn ask(api: &Api, operation: &'static str) -> Result<Option<Parsed>> {
    match api.call(operation, &Params::new()).await {
        Ok(reply) => Ok(Some(reply)),
        Err(failure) if failure.is_general() => Err(failure.error),
        Err(failure) if failure.is(Meaning::NoSuchCall) => Ok(None),
        Err(failure) => {
            tracing::warn!(error = %failure.error, "the host does not tell all of the account");
            Ok(None)
        }
    }
}

fn read_plan(info: Option<&Value>, package: Option<&Value>) -> Plan {
    let none = Value::Null;
    let data = |reply: Option<&Value>| reply.and_then(|reply| reply.get("data")).cloned();
    let (info, package) = (data(info), data(package));
    let info = Node(info.as_ref().unwrap_or(&none));
    let package = Node(package.as_ref().unwrap_or(&none));
    let storage = info
        .number("storageLimitOverride")
        .or_else(|| package.number("max_storage_bytes"));
    Plan {
        owner: info.text("email").or_else(|| info.text("username")),
        storage: storage.filter(|bytes| *bytes != 0),
        file_size: package.number("max_upload_size").filter(|bytes| *bytes != 0),
        may_upload: package.flag("can_upload") != Some(false),
    }
}

async fn used(api: &Api) -> Result<Option<u64>> {
    let sizes = folders::living(api, &wire::root()).await?.sizes;
    api.account.told().used = Some(sizes);
    Ok(Some(sizes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_of_zero_is_none_and_the_accounts_own_counts_before_the_plans() {
        let package =
            json!({"data": {"max_storage_bytes": "1000", "max_upload_size": "0", "can_upload": "1"}});
        let plan = |limit: Value| {
            let info = json!({"data": {"storageLimitOverride": limit, "username": "me", "email": null}});
            read_plan(Some(&info), Some(&package))
        };
        assert_eq!(plan(json!(null)).storage, Some(1000));
        assert_eq!(plan(json!("500")).storage, Some(500));
        assert_eq!(plan(json!("0")).storage, None);
        assert_eq!(plan(json!(null)).file_size, None);
        assert_eq!(plan(json!(null)).owner.as_deref(), Some("me"));
        assert!(read_plan(None, None).may_upload);
    }
}
