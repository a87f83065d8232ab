//! The index: what stands beside each log file, in slots of 24 bytes, little-endian, every slot with its own check.
//!
//! ```text
//! bytes   header slot        data and mark slots            continuation slot
//!  0..8   "devsuplg"         offset in the log file, u64    text of a mark, 20 bytes, padded with NUL
//!  8..16  version u32, run   unix nanoseconds, i64          …
//! 16..20  part u32           length in bytes, u32           …
//! 20      kind 5            kind 1 stdout 2 stderr 3 mark   kind 4
//! 21      0                 flags                           0
//! 22..24  check u16          check u16                      check u16
//! ```
//!
//! A mark's length is that of its text (JSON), which follows in as many continuation slots as it takes. Offsets and times
//! never decrease, and a continuation knows itself, so the index can be searched by halves. A slot that is zero, short or
//! fails its check ends the index for its reader.

use super::{Mark, Stream};

pub(super) const SLOT: usize = 24;
const TEXT: usize = 20;
const MAGIC: &[u8; 8] = b"devsuplg";
const VERSION: u32 = 1;
/// A mark with a longer text is not believed.
pub(super) const LONGEST_MARK: usize = 64 * 1024;

/// The bytes do not end their line.
pub(super) const UNFINISHED: u8 = 1;
/// The one byte is a newline of ours: another stream wrote after an unfinished line.
pub(super) const ADDED: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data(Stream),
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) time: i64,
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Header,
    Record(Record),
    More([u8; TEXT]),
}

impl Record {
    pub(super) fn encode(&self) -> [u8; SLOT] {
        let kind = match self.kind {
            Kind::Data(Stream::Stdout) => 1,
            Kind::Data(Stream::Stderr) => 2,
            Kind::Mark => 3,
        };
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&self.offset.to_le_bytes());
        slot[8..16].copy_from_slice(&self.time.to_le_bytes());
        slot[16..20].copy_from_slice(&self.length.to_le_bytes());
        sealed(slot, kind, self.flags)
    }

    /// Where the bytes it speaks of end in the log file.
    pub(super) fn end(&self) -> u64 {
        match self.kind {
            Kind::Data(_) => self.offset.saturating_add(self.length.into()),
            Kind::Mark => self.offset,
        }
    }

    /// Continuation slots after this one.
    pub(super) fn continuations(&self) -> usize {
        match self.kind {
            Kind::Data(_) => 0,
            Kind::Mark => (self.length as usize).div_ceil(TEXT),
        }
    }
}

pub(super) fn header(run: u32, part: u32) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..12].copy_from_slice(&VERSION.to_le_bytes());
    slot[12..16].copy_from_slice(&run.to_le_bytes());
    slot[16..20].copy_from_slice(&part.to_le_bytes());
    sealed(slot, 5, 0)
}

/// All slots of a mark.
pub(super) fn encode_mark(offset: u64, time: i64, mark: &Mark, out: &mut Vec<u8>) {
    let text = serde_json::to_vec(mark).unwrap_or_default();
    let length = u32::try_from(text.len()).unwrap_or(0);
    out.extend(Record { offset, time, length, kind: Kind::Mark, flags: 0 }.encode());
    for piece in text.chunks(TEXT) {
        let mut slot = [0; SLOT];
        slot[..piece.len()].copy_from_slice(piece);
        out.extend(sealed(slot, 4, 0));
    }
}

pub(super) fn decode(slot: &[u8; SLOT]) -> Option<Slot> {
    if check(slot) != u16::from_le_bytes([slot[22], slot[23]]) {
        return None;
    }
    let word = |at: usize| u32::from_le_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let kind = match slot[20] {
        1 => Kind::Data(Stream::Stdout),
        2 => Kind::Data(Stream::Stderr),
        3 => Kind::Mark,
        4 => {
            let mut text = [0; TEXT];
            text.copy_from_slice(&slot[..TEXT]);
            return Some(Slot::More(text));
        }
        5 if &slot[..8] == MAGIC && word(8) == VERSION => return Some(Slot::Header),
        _ => return None,
    };
    Some(Slot::Record(Record { offset: long(0), time: long(8).cast_signed(), length: word(16), kind, flags: slot[21] }))
}

pub(super) fn sealed(mut slot: [u8; SLOT], kind: u8, flags: u8) -> [u8; SLOT] {
    slot[20] = kind;
    slot[21] = flags;
    let check = check(&slot);
    slot[22..].copy_from_slice(&check.to_le_bytes());
    slot
}

/// FNV-1a over all but the check itself, folded.
fn check(slot: &[u8; SLOT]) -> u16 {
    let hash =
        slot[..22].iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_comes_back(offset: u64, time: i64, length: u32, err: bool, flags: u8) {
            let stream = if err { Stream::Stderr } else { Stream::Stdout };
            let record = Record { offset, time, length, kind: Kind::Data(stream), flags };
            prop_assert_eq!(decode(&record.encode()), Some(Slot::Record(record)));
        }

        #[test]
        fn a_flipped_byte_is_noticed(offset: u64, time: i64, at in 0..SLOT, by in 1..=255u8) {
            let record = Record { offset, time, length: 7, kind: Kind::Mark, flags: 0 };
            let mut slot = record.encode();
            slot[at] ^= by;
            prop_assert_ne!(decode(&slot), Some(Slot::Record(record)));
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(decode(&[0; SLOT]), None);
        assert_eq!(decode(&header(4, 0)), Some(Slot::Header));
    }
}
