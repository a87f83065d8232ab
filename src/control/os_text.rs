//! What the system hands out as bytes, in JSON: a string where it is text, else the list of its bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    Utf8(std::borrow::Cow<'a, str>),
    Bytes(Vec<u8>),
}

pub(super) fn serialize<S: Serializer>(value: &OsStr, to: S) -> Result<S::Ok, S::Error> {
    match value.to_str() {
        Some(text) => Text::Utf8(text.into()).serialize(to),
        None => Text::Bytes(value.as_bytes().to_vec()).serialize(to),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OsString, D::Error> {
    Ok(match Text::deserialize(from)? {
        Text::Utf8(text) => text.into_owned().into(),
        Text::Bytes(bytes) => OsString::from_vec(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct One(#[serde(with = "super")] OsString);

    #[test]
    fn text_is_a_string_and_the_rest_is_not_lost() {
        let text = serde_json::to_string(&One("a=b".into())).expect("serializes");
        assert_eq!(text, "\"a=b\"");
        let odd = OsString::from_vec(vec![0xff, b'a']);
        let there = serde_json::to_string(&One(odd.clone())).expect("serializes");
        let back: One = serde_json::from_str(&there).expect("parses");
        assert_eq!((there.as_str(), back.0), ("[255,97]", odd));
    }
}
