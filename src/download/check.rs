//! The check of a content against the hash that its service tells, block after block from its start.
//!
//! It follows whoever reads: a block is hashed when all before it were. A content that is read whole is thus known
//! to be right before its last byte is handed out. One that is not is thrown away; a small one is fetched
//! once more, and is right after all where its hash fits then and nobody was given other bytes before.
//! It knows blocks, not where they come from.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::Digest;

use super::cache::BLOCK;
use super::error::DownloadError;
use crate::provider::{ContentHash, ErrorKind};

/// The largest content, in bytes, that is fetched once more within the read that found it wrong.
const FETCHED_AGAIN: u64 = 64 * 1024 * 1024;

/// Where the check of a content stands.
pub(super) struct Check {
    size: u64,
    expected: Option<ContentHash>,
    stage: Stage,
    /// Checksums of the blocks that were handed out unchecked, by offset. Only of what may be fetched again.
    handed_out: HashMap<u64, u32>,
    /// Whether the content was found wrong and is fetched once more.
    again: bool,
}

enum Stage {
    /// Known to be right, or without a hash to know it by.
    Done,
    Hashing(Box<Hasher>),
    /// The hasher is with somebody who goes on with it.
    Lent,
    Wrong(DownloadError),
}

/// What a reader that has its bytes does with them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    HandOut,
    /// All blocks from here on must be hashed first.
    HashFrom(u64),
    /// Somebody hashes: look again when that changes.
    Busy,
    Wrong(DownloadError),
}

/// What a finished hash says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is more to hash.
    Open,
    Right,
    /// Right, but readers were given other bytes before: those may not go on.
    RightTooLate,
    /// All bytes go, and are fetched once more. Nobody hashes until they went: [`Check::begin_again`].
    FetchAgain,
    Wrong,
}

impl Check {
    pub fn new(size: u64, expected: Option<ContentHash>) -> Self {
        let stage = expected.map_or(Stage::Done, |expected| {
            Stage::Hashing(Box::new(Hasher::new(size, expected)))
        });
        Check {
            size,
            expected,
            stage,
            handed_out: HashMap::new(),
            again: false,
        }
    }

    /// Notes that the content was found right before.
    pub fn pass(&mut self) {
        self.stage = Stage::Done;
        self.handed_out = HashMap::new();
    }

    /// Why no byte is handed out any more.
    pub fn wrong(&self) -> Option<&DownloadError> {
        match &self.stage {
            Stage::Wrong(error) => Some(error),
            _ => None,
        }
    }

    /// Whether a read that ends at `end` may be handed out.
    pub fn standing(&self, end: u64) -> Standing {
        match &self.stage {
            Stage::Wrong(error) => Standing::Wrong(error.clone()),
            Stage::Done => Standing::HandOut,
            _ if end < self.size => Standing::HandOut,
            Stage::Lent => Standing::Busy,
            Stage::Hashing(hasher) => Standing::HashFrom(hasher.at),
        }
    }

    /// Whether the content must be whole before its end is handed out, because it was wrong before.
    pub fn must_be_whole(&self) -> bool {
        self.again
    }

    /// Notes blocks that are handed out before the check is over.
    pub fn note_handed_out<'a>(&mut self, blocks: impl Iterator<Item = (u64, &'a Bytes)>) {
        if matches!(self.stage, Stage::Done) || !may_be_fetched_again(self.size) {
            return;
        }
        for (offset, block) in blocks {
            self.handed_out
                .entry(offset)
                .or_insert_with(|| crc32fast::hash(block));
        }
    }

    /// Takes the hasher to go on with. It must come back by [`Check::give_back`].
    pub fn lend(&mut self) -> Option<Box<Hasher>> {
        match std::mem::replace(&mut self.stage, Stage::Lent) {
            Stage::Hashing(hasher) => Some(hasher),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes the hasher back, and says what it found. `name` is for the message of a failure.
    pub fn give_back(&mut self, hasher: Box<Hasher>, name: &str) -> Verdict {
        if hasher.at < self.size {
            self.stage = Stage::Hashing(hasher);
            return Verdict::Open;
        }
        let fits = hasher.fits();
        let as_before = hasher.agrees_with(&self.handed_out);
        if fits && as_before {
            self.pass();
            return Verdict::Right;
        }
        if !fits && !self.again && may_be_fetched_again(self.size) {
            self.again = true;
            self.stage = Stage::Lent;
            return Verdict::FetchAgain;
        }
        let what = match fits {
            true => "was read with other bytes before: open it again",
            false => "arrived damaged: its hash is not the one the service tells",
        };
        self.stage = Stage::Wrong(DownloadError::new(ErrorKind::Corrupt, format!("{name} {what}")));
        match fits {
            true => Verdict::RightTooLate,
            false => Verdict::Wrong,
        }
    }

    /// Hashes from the start: what was found wrong is thrown away.
    pub fn begin_again(&mut self) {
        if let Some(expected) = self.expected {
            self.stage = Stage::Hashing(Box::new(Hasher::new(self.size, expected)));
        }
    }
}

fn may_be_fetched_again(size: u64) -> bool {
    size <= FETCHED_AGAIN
}

enum Digesting {
    Sha256(sha2::Sha256),
    Md5(md5::Md5),
}

/// The hash of all blocks up to a place.
pub(super) struct Hasher {
    digest: Digesting,
    expected: ContentHash,
    /// The first byte that is not hashed: a block begins there, or the content ends.
    at: u64,
    /// Checksums of the hashed blocks, where they may have to be compared.
    checksums: Option<Vec<u32>>,
}

impl Hasher {
    fn new(size: u64, expected: ContentHash) -> Self {
        let digest = match expected {
            ContentHash::Sha256(_) => Digesting::Sha256(sha2::Sha256::new()),
            ContentHash::Md5(_) => Digesting::Md5(md5::Md5::new()),
        };
        Hasher {
            digest,
            expected,
            at: 0,
            checksums: may_be_fetched_again(size).then(Vec::new),
        }
    }

    /// Where the next block begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn update(&mut self, block: &[u8]) {
        match &mut self.digest {
            Digesting::Sha256(digest) => digest.update(block),
            Digesting::Md5(digest) => digest.update(block),
        }
        self.at += block.len() as u64;
        if let Some(checksums) = &mut self.checksums {
            checksums.push(crc32fast::hash(block));
        }
    }

    fn fits(&self) -> bool {
        let actual = match &self.digest {
            Digesting::Sha256(digest) => ContentHash::Sha256(digest.clone().finalize().into()),
            Digesting::Md5(digest) => ContentHash::Md5(digest.clone().finalize().into()),
        };
        actual == self.expected
    }

    /// Whether blocks that were handed out are those that were hashed.
    fn agrees_with(&self, handed_out: &HashMap<u64, u32>) -> bool {
        let checksums = self.checksums.as_deref().unwrap_or_default();
        handed_out.iter().all(|(offset, checksum)| {
            let block = usize::try_from(offset / BLOCK).unwrap_or(usize::MAX);
            checksums.get(block) == Some(checksum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 2 * BLOCK + 10;

    fn blocks(seed: u8) -> Vec<(u64, Bytes)> {
        (0..3)
            .map(|n| {
                let length = BLOCK.min(SIZE - n * BLOCK) as usize;
                (n * BLOCK, Bytes::from(vec![seed + n as u8; length]))
            })
            .collect()
    }

    fn sha256(blocks: &[(u64, Bytes)]) -> ContentHash {
        let mut digest = sha2::Sha256::new();
        for (_, block) in blocks {
            digest.update(block);
        }
        ContentHash::Sha256(digest.finalize().into())
    }

    fn note(check: &mut Check, blocks: &[(u64, Bytes)]) {
        check.note_handed_out(blocks.iter().map(|(offset, block)| (*offset, block)));
    }

    fn hash_all(check: &mut Check, blocks: &[(u64, Bytes)]) -> Verdict {
        let mut hasher = check.lend().expect("there");
        assert_eq!(check.standing(SIZE), Standing::Busy);
        for (_, block) in blocks {
            hasher.update(block);
        }
        check.give_back(hasher, "a.bin")
    }

    #[test]
    fn the_end_is_handed_out_once_all_is_hashed_and_fits() {
        let mut check = Check::new(SIZE, Some(sha256(&blocks(1))));
        assert_eq!(check.standing(SIZE - 1), Standing::HandOut);
        assert_eq!(check.standing(SIZE), Standing::HashFrom(0));
        note(&mut check, &blocks(1)[..2]);
        assert_eq!(hash_all(&mut check, &blocks(1)), Verdict::Right);
        assert_eq!(check.standing(SIZE), Standing::HandOut);
    }

    #[test]
    fn a_wrong_content_is_fetched_once_more_and_is_then_wrong_for_good() {
        let mut check = Check::new(SIZE, Some(sha256(&blocks(1))));
        assert_eq!(hash_all(&mut check, &blocks(2)), Verdict::FetchAgain);
        assert!(check.must_be_whole());
        assert_eq!(
            check.standing(SIZE),
            Standing::Busy,
            "the wrong bytes are still there"
        );
        assert!(check.lend().is_none());
        check.begin_again();
        assert_eq!(check.standing(SIZE), Standing::HashFrom(0));
        assert_eq!(hash_all(&mut check, &blocks(2)), Verdict::Wrong);
        assert!(matches!(check.standing(1), Standing::Wrong(_)));
    }

    #[test]
    fn a_content_that_is_right_the_second_time_is_no_help_to_who_was_given_other_bytes() {
        for (given, verdict) in [
            (&blocks(2)[..1], Verdict::RightTooLate),
            (&blocks(1)[..1], Verdict::Right),
        ] {
            let mut check = Check::new(SIZE, Some(sha256(&blocks(1))));
            note(&mut check, given);
            assert_eq!(hash_all(&mut check, &blocks(2)), Verdict::FetchAgain);
            check.begin_again();
            assert_eq!(hash_all(&mut check, &blocks(1)), verdict);
        }
    }

    #[test]
    fn a_content_without_a_hash_is_handed_out() {
        assert_eq!(Check::new(SIZE, None).standing(SIZE), Standing::HandOut);
    }
}
