//! The buckets and what lies in them, in memory only.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use jiff::Timestamp;

/// All objects of all buckets together.
const CAPACITY: usize = 512 << 20;

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) data: Bytes,
    pub(super) etag: String,
    pub(super) content_type: String,
    pub(super) modified: Timestamp,
    /// `x-amz-meta-…` headers, handed back as they came.
    pub(super) metadata: Vec<(String, String)>,
}

pub(super) type Bucket = BTreeMap<String, Object>;

#[derive(Debug, Default)]
pub(super) struct Objects {
    buckets: BTreeMap<String, Bucket>,
    size: usize,
}

/// There is no room for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Objects {
    pub(super) fn new<'a>(buckets: impl Iterator<Item = &'a String>) -> Self {
        Self { buckets: buckets.map(|name| (name.clone(), Bucket::new())).collect(), size: 0 }
    }

    pub(super) fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.buckets.keys()
    }

    pub(super) fn put(&mut self, bucket: &str, key: &str, object: Object) -> Result<(), Full> {
        let Some(objects) = self.buckets.get_mut(bucket) else { return Ok(()) };
        let freed = objects.get(key).map_or(0, |old| old.data.len());
        let size = self.size - freed + object.data.len();
        if size > CAPACITY {
            return Err(Full);
        }
        objects.insert(key.to_owned(), object);
        self.size = size;
        Ok(())
    }

    pub(super) fn delete(&mut self, bucket: &str, key: &str) {
        if let Some(old) = self.buckets.get_mut(bucket).and_then(|objects| objects.remove(key)) {
            self.size -= old.data.len();
        }
    }
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    pub(super) common_prefixes: Vec<String>,
    /// The last entry of this page, when there are more.
    pub(super) next: Option<String>,
}

/// The entries after `after` that begin with `prefix`; what goes on past a `delimiter` is folded into a common prefix.
pub(super) fn page(bucket: &Bucket, prefix: &str, delimiter: &str, after: &str, max: usize) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    for key in bucket.range(prefix.to_owned()..).map(|(key, _)| key).take_while(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let fold = (!delimiter.is_empty()).then(|| rest.find(delimiter)).flatten();
        let entry = fold.map_or(key.as_str(), |at| &key[..prefix.len() + at + delimiter.len()]);
        if entry <= after || entry == last {
            continue;
        }
        if page.keys.len() + page.common_prefixes.len() >= max {
            page.next = (max > 0).then_some(last);
            break;
        }
        entry.clone_into(&mut last);
        if fold.is_some() { page.common_prefixes.push(last.clone()) } else { page.keys.push(last.clone()) }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(size: usize) -> Object {
        let data = Bytes::from(vec![0; size]);
        Object {
            data,
            etag: String::new(),
            content_type: String::new(),
            modified: Timestamp::UNIX_EPOCH,
            metadata: Vec::new(),
        }
    }

    fn bucket() -> Bucket {
        ["a", "b/1", "b/2", "b/c/3", "d"].into_iter().map(|key| (key.to_owned(), object(1))).collect()
    }

    #[test]
    fn a_listing_folds_at_the_delimiter_and_goes_on_where_it_stopped() {
        let first = page(&bucket(), "", "/", "", 2);
        assert_eq!(
            (first.keys, first.common_prefixes, first.next),
            (vec!["a".into()], vec!["b/".into()], Some("b/".into()))
        );
        let second = page(&bucket(), "", "/", "b/", 2);
        assert_eq!((second.keys, second.common_prefixes, second.next), (vec!["d".into()], vec![], None));
        let inner = page(&bucket(), "b/", "/", "", 10);
        assert_eq!((inner.keys, inner.common_prefixes), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));
        assert_eq!(page(&bucket(), "", "", "", 0), Page::default());
    }

    #[test]
    fn room_is_counted_and_given_back() {
        let name = "bucket".to_owned();
        let mut objects = Objects::new([&name].into_iter());
        let half = CAPACITY / 2 + 1;
        let put = |objects: &mut Objects, key: &str| objects.put("bucket", key, object(half));
        assert_eq!(put(&mut objects, "one"), Ok(()));
        assert_eq!(put(&mut objects, "one"), Ok(()), "an object replaces itself");
        assert_eq!(put(&mut objects, "two"), Err(Full));
        objects.delete("bucket", "one");
        assert_eq!(put(&mut objects, "two"), Ok(()));
    }
}
