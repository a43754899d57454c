use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::map::Storage;

/// The data of one tensor, where the file's bytes are: it keeps them mapped, or in memory. Cloning shares it.
#[derive(Clone)]
pub struct Data {
    storage: Arc<Storage>,
    range: Range<usize>,
}

impl Data {
    pub(super) fn new(storage: &Arc<Storage>, range: Range<usize>) -> Data {
        Data { storage: Arc::clone(storage), range }
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.storage.bytes().get(self.range.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({:?})", self.range)
    }
}
