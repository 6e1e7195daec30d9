//! What is noted of each upload.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::super::random_key;
use crate::sandbox::blobs::Growing;
use crate::sandbox::state::now;
use crate::sandbox::tree::Content;

pub const KEY_LENGTH: usize = 11;

/// Uploads remembered after their end; the eldest are forgotten.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDuplicate {
    Skip,
    Keep,
    Replace,
}

/// Where an upload goes and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aim {
    pub folder: String,
    /// Folders below `folder` that are still to be made.
    pub path: Option<String>,
    /// The file that gets the content, in place of a new one.
    pub quick_key: Option<String>,
    pub on_duplicate: OnDuplicate,
    pub mtime: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// Units are missing.
    Receiving,
    /// All units are there and are being put together.
    Assembling,
    /// The content is stored and waits, until a time in milliseconds since the epoch, to be ready.
    Waiting {
        content: Content,
        ready_at: u64,
    },
    Done {
        quickkey: String,
    },
    Failed {
        code: i64,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upload {
    pub account: String,
    pub name: String,
    /// What the client promised to send; the hash is empty where it did not tell.
    pub content: Content,
    pub aim: Aim,
    pub stage: Stage,
    pub unit_size: u64,
    /// Which units are there. Empty for a simple upload.
    pub units: Vec<bool>,
    pub begun: i64,
    /// The `fileerror` that a fault has in store for it.
    pub doom: Option<i64>,
    serial: u64,
}

impl Upload {
    pub fn simple(account: String, name: String, promised: Content, aim: Aim, stage: Stage) -> Self {
        Self {
            account,
            name,
            content: promised,
            aim,
            stage,
            unit_size: 0,
            units: Vec::new(),
            begun: now(),
            doom: None,
            serial: 0,
        }
    }

    pub fn resumable(
        account: &str,
        name: String,
        promised: Content,
        aim: Aim,
        unit_size: u64,
        begun: i64,
    ) -> Self {
        let count = promised.size.div_ceil(unit_size).max(1);
        Self {
            account: account.to_owned(),
            name,
            content: promised,
            aim,
            stage: Stage::Receiving,
            unit_size,
            units: vec![false; usize::try_from(count).unwrap_or(0)],
            begun,
            doom: None,
            serial: 0,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
pub struct Uploads {
    by_key: HashMap<String, Upload>,
    serial: u64,
    /// Counts changes.
    stamp: u64,
    #[serde(skip)]
    waiting: BTreeSet<(u64, String)>,
    #[serde(skip)]
    by_age: BTreeMap<u64, String>,
    #[serde(skip)]
    by_content: HashMap<Address, BTreeSet<u64>>,
    /// What is hashed so far of uploads that come in units.
    #[serde(skip)]
    growing: HashMap<String, Arc<Mutex<Growing>>>,
}

/// Account, hash and size.
type Address = (String, String, u64);

fn address(upload: &Upload) -> Address {
    (
        upload.account.clone(),
        upload.content.sha256.clone(),
        upload.content.size,
    )
}

impl Uploads {
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    pub fn revive(&mut self) {
        for (key, upload) in &self.by_key {
            self.by_age.insert(upload.serial, key.clone());
            self.by_content
                .entry(address(upload))
                .or_default()
                .insert(upload.serial);
            if let Stage::Waiting { ready_at, .. } = upload.stage {
                self.waiting.insert((ready_at, key.clone()));
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&Upload> {
        self.by_key.get(key)
    }

    pub fn begin(&mut self, mut upload: Upload) -> String {
        let key = random_key(KEY_LENGTH);
        self.stamp += 1;
        self.serial += 1;
        upload.serial = self.serial;
        if let Stage::Waiting { ready_at, .. } = upload.stage {
            self.waiting.insert((ready_at, key.clone()));
        }
        self.by_age.insert(upload.serial, key.clone());
        self.by_content
            .entry(address(&upload))
            .or_default()
            .insert(upload.serial);
        self.by_key.insert(key.clone(), upload);
        while self.by_age.len() > REMEMBERED {
            let Some((serial, eldest)) = self.by_age.pop_first() else {
                break;
            };
            self.growing.remove(&eldest);
            if let Some(upload) = self.by_key.remove(&eldest) {
                let address = address(&upload);
                if let Some(serials) = self.by_content.get_mut(&address) {
                    serials.remove(&serial);
                    if serials.is_empty() {
                        self.by_content.remove(&address);
                    }
                }
                self.waiting.retain(|(_, key)| *key != eldest);
            }
        }
        key
    }

    /// The latest upload of this content by this account that has not failed, to this name and folder where
    /// they are given.
    pub fn find(
        &self,
        account: &str,
        content: &Content,
        name: Option<&str>,
        folder: Option<&str>,
    ) -> Option<String> {
        let serials = self
            .by_content
            .get(&(account.to_owned(), content.sha256.clone(), content.size))?;
        serials
            .iter()
            .rev()
            .filter_map(|serial| self.by_age.get(serial))
            .find_map(|key| {
                let upload = self.by_key.get(key)?;
                let fits = !matches!(upload.stage, Stage::Failed { .. })
                    && !upload.units.is_empty()
                    && name.is_none_or(|name| upload.name == name)
                    && folder.is_none_or(|folder| upload.aim.folder == folder);
                fits.then(|| key.clone())
            })
    }

    /// The hash of an upload's first units, for one thread at a time.
    pub fn growing(&mut self, key: &str) -> Arc<Mutex<Growing>> {
        self.growing.entry(key.to_owned()).or_default().clone()
    }

    pub fn edit(&mut self, key: &str, edit: impl FnOnce(&mut Upload)) {
        self.stamp += 1;
        if let Some(upload) = self.by_key.get_mut(key) {
            edit(upload);
        }
    }

    pub fn set_stage(&mut self, key: &str, stage: Stage) {
        self.stamp += 1;
        if !matches!(stage, Stage::Receiving | Stage::Assembling) {
            self.growing.remove(key);
        }
        let Some(upload) = self.by_key.get_mut(key) else {
            return;
        };
        if let Stage::Waiting { ready_at, .. } = upload.stage {
            self.waiting.remove(&(ready_at, key.to_owned()));
        }
        if let Stage::Waiting { ready_at, .. } = stage {
            self.waiting.insert((ready_at, key.to_owned()));
        }
        upload.stage = stage;
    }

    /// Uploads whose wait is over at `now`, in milliseconds since the epoch.
    pub fn due(&self, now: u64) -> Vec<String> {
        self.waiting
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, key)| key.clone())
            .collect()
    }

    pub fn assembling(&self) -> Vec<String> {
        let assembling = self
            .by_key
            .iter()
            .filter(|(_, upload)| matches!(upload.stage, Stage::Assembling));
        assembling.map(|(key, _)| key.clone()).collect()
    }

    pub fn contents(&self) -> HashSet<String> {
        let waiting = self.by_key.values().filter_map(|upload| match &upload.stage {
            Stage::Waiting { content, .. } => Some(content.sha256.clone()),
            _ => None,
        });
        waiting.collect()
    }
}
