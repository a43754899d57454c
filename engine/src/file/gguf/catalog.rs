use super::error::{Fault, GgufError, Item, Problem};
use super::layout::Layout;
use super::scan::{Descriptor, Entry, Scan, Walk};
use super::value::{Value, ValueType};
use siskin_quant::TensorType;
use std::ops::Range;

/// A tensor of the file: what it is called, its shape and type, and where its data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The tensor's name, at most 63 bytes.
    pub name: String,
    /// Its 1 to 4 dimensions in GGUF's order: `shape[0]` is the length of a row.
    pub shape: Vec<u64>,
    /// The type of its elements.
    pub ty: TensorType,
    /// How they lie in the file.
    pub layout: Layout,
    /// Which file of a split model its data are in, counted from 0.
    pub shard: usize,
    /// Where its data begins in that file, in bytes.
    pub offset: u64,
    /// Size of its data, in bytes, with the rows that fill up the last panel of a packed tensor. 0 if a dimension is 0.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements: the product of the dimensions.
    pub fn elements(&self) -> u64 {
        self.row_len() * self.rows()
    }

    /// Length of a row, in elements.
    pub fn row_len(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Number of rows: the product of all dimensions but the first, or 0 if any dimension is 0.
    pub fn rows(&self) -> u64 {
        // Beside a zero the other dimensions may be anything, and their product beyond 64 bits.
        if self.shape.contains(&0) { 0 } else { self.shape.iter().skip(1).product() }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// The index of a file that was scanned: keys with the places of their values, and tensors.
///
/// Memory is allocated in proportion to what the scan has proven to be there, at first a few bytes an entry; names
/// are copied only once nothing can be wrong any more.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) scan: Scan,
    keys: Vec<KeyInfo>,
    /// Indices of `keys`, by key.
    keys_sorted: Vec<u32>,
    tensors: Vec<TensorInfo>,
    /// Indices of `tensors`, by name.
    tensors_sorted: Vec<u32>,
}

#[derive(Debug)]
struct KeyInfo {
    key: String,
    kind: ValueType,
    value: Range<usize>,
}

impl Catalog {
    /// Indexes `bytes`, which are the metadata of a file of `file_len` bytes, called `file`, of which a scan said `scan`.
    pub(super) fn build(file: &str, bytes: &[u8], file_len: u64, scan: Scan) -> Result<Catalog, GgufError> {
        let (keys, tensors) = collect(bytes, file_len, scan).map_err(|fault| fault.in_file(file))?;

        let keys_sorted = sorted_names(&keys, |entry| entry.key).map_err(|(first, second)| {
            let item = Item::Key(second.key.as_bytes());
            Fault { item, offset: second.at, problem: Problem::Duplicate(first.at) }.in_file(file)
        })?;
        let tensors_sorted = sorted_names(&tensors, |tensor| tensor.name).map_err(|(first, second)| {
            let item = Item::Tensor(second.name.as_bytes());
            Fault { item, offset: second.at, problem: Problem::Duplicate(first.at) }.in_file(file)
        })?;
        check_overlap(file, &tensors, scan.data_start)?;

        Ok(Catalog {
            scan,
            keys: keys.iter().map(KeyInfo::from_entry).collect(),
            keys_sorted,
            tensors: tensors
                .iter()
                .map(|tensor| TensorInfo::from_descriptor(tensor, scan.data_start))
                .collect(),
            tensors_sorted,
        })
    }

    /// Adds the tensors of another file, shard number `shard` of the same model. Names are found again after
    /// [`Catalog::finish_joining`].
    pub(super) fn append(&mut self, shard: usize, other: Catalog) {
        self.tensors.extend(other.tensors.into_iter().map(|tensor| TensorInfo { shard, ..tensor }));
    }

    /// Makes one catalog of what was put together, without the keys that begin with `aside`. Fails with the name of a
    /// tensor that is in two shards, and their numbers.
    pub(super) fn finish_joining(&mut self, aside: &str) -> Result<(), (String, usize, usize)> {
        self.keys.retain(|info| !info.key.starts_with(aside));
        let twins = |(one, other): (&TensorInfo, &TensorInfo)| (one.name.clone(), one.shard, other.shard);
        self.tensors_sorted = sorted_names(&self.tensors, |tensor| &tensor.name).map_err(twins)?;
        // Each name was there once already.
        let of_keys = sorted_names(&self.keys, |info| &info.key);
        self.keys_sorted = of_keys.unwrap_or_default();
        Ok(())
    }

    pub(super) fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.tensors, &self.tensors_sorted, name, |tensor| &tensor.name)
    }

    pub(super) fn value<'a>(&self, bytes: &'a [u8], key: &str) -> Option<Value<'a>> {
        find(&self.keys, &self.keys_sorted, key, |info| &info.key)?.value(bytes)
    }

    pub(super) fn metadata<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.keys.iter().filter_map(|info| Some((info.key.as_str(), info.value(bytes)?)))
    }
}

impl KeyInfo {
    fn from_entry(entry: &Entry<'_>) -> KeyInfo {
        // Metadata ends before MAX_METADATA_BYTES, which any usize holds.
        let start = entry.value_at as usize;
        KeyInfo { key: entry.key.to_owned(), kind: entry.kind, value: start..start + entry.value.len() }
    }

    /// Always `Some` of the bytes that were checked.
    fn value<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>> {
        Value::decode(self.kind, bytes.get(self.value.clone())?)
    }
}

impl TensorInfo {
    fn from_descriptor(tensor: &Descriptor<'_>, data_start: u64) -> TensorInfo {
        TensorInfo {
            name: tensor.name.to_owned(),
            shape: tensor.shape().to_vec(),
            ty: tensor.ty,
            layout: tensor.layout,
            shard: 0,
            offset: data_start.saturating_add(tensor.data_at),
            bytes: tensor.data_end - tensor.data_at,
        }
    }
}

/// Repeats the scan's walk and keeps what it finds.
fn collect(
    bytes: &[u8],
    file_len: u64,
    scan: Scan,
) -> Result<(Vec<Entry<'_>>, Vec<Descriptor<'_>>), Fault<'_>> {
    let mut walk = Walk::start(bytes, file_len)?;
    let mut keys = Vec::with_capacity(scan.keys as usize);
    while let Some(entry) = walk.next_key()? {
        keys.push(entry);
    }
    let mut tensors = Vec::with_capacity(scan.tensors as usize);
    while let Some(tensor) = walk.next_tensor()? {
        tensors.push(tensor);
    }
    Ok((keys, tensors))
}

/// The order of the items by name, or the first two items found that share one, the earlier first.
fn sorted_names<'t, T>(items: &'t [T], name: impl Fn(&'t T) -> &'t str) -> Result<Vec<u32>, (&'t T, &'t T)> {
    // By name, then by place in the file: equal names come out as neighbours, the earlier first.
    let mut order: Vec<(&str, u32)> = items.iter().map(&name).zip(0..).collect();
    order.sort_unstable();
    let twins = order.windows(2).find_map(|pair| match pair {
        [(a, first), (b, second)] if a == b => {
            Some((items.get(*first as usize)?, items.get(*second as usize)?))
        }
        _ => None,
    });
    match twins {
        Some(twins) => Err(twins),
        None => Ok(order.into_iter().map(|(_, index)| index).collect()),
    }
}

fn find<'t, T>(
    items: &'t [T],
    sorted: &[u32],
    name: &str,
    name_of: impl Fn(&'t T) -> &'t str,
) -> Option<&'t T> {
    let item = |index: u32| items.get(index as usize);
    let place = sorted.binary_search_by(|&index| item(index).map(&name_of).cmp(&Some(name))).ok()?;
    item(*sorted.get(place)?)
}

fn check_overlap(file: &str, tensors: &[Descriptor<'_>], data_start: u64) -> Result<(), GgufError> {
    let mut order: Vec<&Descriptor<'_>> = tensors.iter().filter(|t| t.data_end > t.data_at).collect();
    order.sort_unstable_by_key(|tensor| (tensor.data_at, tensor.at));
    for pair in order.windows(2) {
        if let [a, b] = pair
            && b.data_at < a.data_end
        {
            return Err(GgufError::Overlap {
                file: file.to_owned(),
                tensor: b.name.to_owned(),
                start: data_start.saturating_add(b.data_at),
                end: data_start.saturating_add(b.data_end),
                other: a.name.to_owned(),
                other_start: data_start.saturating_add(a.data_at),
                other_end: data_start.saturating_add(a.data_end),
            });
        }
    }
    Ok(())
}
