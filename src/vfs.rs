//! Placeholder for the room that follows POSIX; it holds what the mount is assembled from.

use std::sync::Arc;

use crate::download::Downloads;
use crate::provider::{DeleteMode, Provider};
use crate::upload::Uploads;

pub struct Options {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub umask: u32,
    pub alone: bool,
}

pub struct AccountSetup {
    pub name: String,
    pub provider: Arc<dyn Provider>,
    pub delete: DeleteMode,
    pub on_close_wait: bool,
    pub fsync_remote: bool,
}

pub struct Vfs {
    pub uploads: Arc<Uploads>,
    pub downloads: Arc<Downloads>,
}

impl Vfs {
    pub fn new(
        _options: Options,
        accounts: Vec<AccountSetup>,
        uploads: Arc<Uploads>,
        downloads: Arc<Downloads>,
        runtime: tokio::runtime::Handle,
    ) -> Arc<Self> {
        let providers = accounts
            .into_iter()
            .map(|account| (account.name, account.provider))
            .collect();
        let mut events = uploads.start(providers, Arc::clone(&downloads) as Arc<_>);
        runtime.spawn(async move { while events.recv().await.is_some() {} });
        Arc::new(Vfs { uploads, downloads })
    }

    pub fn refuse_writes(&self) {}
}
