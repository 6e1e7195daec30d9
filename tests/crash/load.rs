//! What a writer does next, by its dice and by what is there.

use std::sync::Arc;

use super::model::{Content, Operation, State, Step};
use crate::harness::content;

const NAMES: [&str; 8] = [
    "one.txt",
    "two.bin",
    "three",
    "four.tar.gz",
    "fünf.txt",
    ".hidden",
    "six (2).txt",
    "six.txt",
];
const FOLDERS: [&str; 4] = ["d0", "d1", "d0/e0", "d0/e1"];

pub struct Load {
    dice: fastrand::Rng,
}

impl Load {
    pub fn new(seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Load { dice }
    }

    pub fn pause(&mut self) -> std::time::Duration {
        let longest = if self.dice.u8(..4) == 0 { 120 } else { 12 };
        std::time::Duration::from_millis(self.dice.u64(..longest))
    }

    pub fn next(&mut self, state: &State) -> Operation {
        loop {
            if let Some(operation) = self.draw(state) {
                return operation;
            }
        }
    }

    fn draw(&mut self, state: &State) -> Option<Operation> {
        let file = |load: &mut Self| load.choose(state.files.keys().cloned());
        match self.dice.u32(..100) {
            0..28 => self.write(state),
            28..36 => {
                let (from, to) = (file(self)?, self.path(state));
                (from != to).then_some(Operation::Copy { from, to })
            }
            36..42 => self.edit(state),
            42..50 => self.append(state),
            50..70 => {
                let (from, to) = (file(self)?, self.path(state));
                (from != to).then_some(Operation::Rename { from, to })
            }
            70..73 => self.rename_folder(state),
            73..83 => Some(Operation::Remove { path: file(self)? }),
            83..90 => {
                let path = self.choose(FOLDERS.into_iter().map(str::to_owned))?;
                let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
                let possible = parent.is_none_or(|parent| state.folders.contains(&parent));
                let possible = possible && !state.folders.contains(&path);
                possible.then_some(Operation::MakeFolder { path })
            }
            90..94 => {
                let empty = state.folders.iter().filter(|folder| is_empty(state, folder));
                let path = self.choose(empty.cloned())?;
                Some(Operation::RemoveFolder { path })
            }
            _ => Some(Operation::Read { path: file(self)? }),
        }
    }

    fn write(&mut self, state: &State) -> Option<Operation> {
        let (path, content) = (self.path(state), self.content());
        let mut steps = self.in_pieces(0, &content);
        if content.len() < 100_000 && self.dice.u8(..8) == 0 {
            let at = self.dice.usize(..=steps.len());
            steps.insert(at, Step::Sync);
        }
        Some(Operation::Write { path, steps })
    }

    fn append(&mut self, state: &State) -> Option<Operation> {
        let path = self.choose(state.files.keys().cloned())?;
        let size = self.dice.usize(1..6000);
        let content = self.bytes(size);
        let steps = self.in_pieces(state.files[&path].len() as u64, &content);
        Some(Operation::Edit { path, steps })
    }

    fn edit(&mut self, state: &State) -> Option<Operation> {
        let path = self.choose(state.files.keys().cloned())?;
        let mut steps = Vec::new();
        let mut len = state.files[&path].len() as u64;
        for _ in 0..self.dice.usize(1..4) {
            match self.dice.u8(..8) {
                0 => {
                    len = self.dice.u64(..=len + 100);
                    steps.push(Step::Cut(len));
                }
                1 => steps.push(Step::Sync),
                _ => {
                    let offset = self.dice.u64(..=len);
                    let size = self.dice.usize(1..3000);
                    len = len.max(offset + size as u64);
                    steps.push(Step::Put(offset, Arc::new(self.bytes(size))));
                }
            }
        }
        Some(Operation::Edit { path, steps })
    }

    fn rename_folder(&mut self, state: &State) -> Option<Operation> {
        let from = self.choose(state.folders.iter().cloned())?;
        let to = self.choose(FOLDERS.into_iter().map(str::to_owned))?;
        let parent = to.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let below = |path: &str| path == from || path.starts_with(&format!("{from}/"));
        let free = !state.folders.contains(&to) && !below(&to);
        let possible = free && parent.is_none_or(|parent| state.folders.contains(&parent));
        possible.then_some(Operation::Rename { from, to })
    }

    /// Where a file may be, whether there is one or not.
    fn path(&mut self, state: &State) -> String {
        let folder = self.choose(state.folders.iter().cloned());
        let name = NAMES[self.dice.usize(..NAMES.len())];
        match folder.filter(|_| self.dice.u8(..3) > 0) {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }

    fn content(&mut self) -> Content {
        let size = match self.dice.u32(..100) {
            0..8 => 0,
            8..70 => self.dice.usize(1..8000),
            70..97 => self.dice.usize(8000..90_000),
            // In several units, where the service takes files so.
            _ => self.dice.usize((4 << 20) + 1..5 << 20),
        };
        // Now and then one that the account may hold already.
        match self.dice.u8(..8) {
            0 => Arc::new(content(self.dice.u64(..3), 3000)),
            _ => Arc::new(self.bytes(size)),
        }
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.dice.fill(&mut bytes);
        bytes
    }

    fn in_pieces(&mut self, start: u64, content: &[u8]) -> Vec<Step> {
        let (mut steps, mut from) = (Vec::new(), 0);
        while from < content.len() {
            let least = content.len() / 4 + 1;
            let to = content
                .len()
                .min(from + self.dice.usize(least..=content.len().max(least)));
            steps.push(Step::Put(
                start + from as u64,
                Arc::new(content[from..to].to_vec()),
            ));
            from = to;
        }
        steps
    }

    fn choose<T>(&mut self, from: impl Iterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.collect();
        let at = (!all.is_empty()).then(|| self.dice.usize(..all.len()))?;
        all.into_iter().nth(at)
    }
}

fn is_empty(state: &State, folder: &str) -> bool {
    let inside = format!("{folder}/");
    let mut all = state.files.keys().chain(&state.folders);
    !all.any(|path| path.starts_with(&inside))
}
