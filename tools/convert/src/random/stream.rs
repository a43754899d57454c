use anyhow::Result;
use siskin_kit::Random;
use siskin_quant::{TensorType, encode};

/// The largest blocks of any format.
const SUPERBLOCK: usize = 256;
/// Superblocks in a piece of weights. A prime: so rows of any length but its multiples begin all over the piece.
const PIECE: usize = if cfg!(test) { 31 } else { 1021 };

/// An endless stream of weights in one format: a piece of them, quantized once and repeated. What matters to a
/// benchmark is that no row equals its neighbour, not that none ever comes back.
#[derive(Debug)]
pub(super) struct Stream {
    ty: TensorType,
    row_len: u64,
    blocks: Vec<u8>,
    at: usize,
}

impl Stream {
    /// Weights for rows of `row_len`, with a standard deviation of 1/√`row_len`: products with them are as large as
    /// what they are multiplied with.
    pub(super) fn new(ty: TensorType, row_len: u64) -> Result<Stream> {
        let mut random = Random::new(row_len);
        let deviation = 1.0 / (row_len as f32).sqrt();
        let weights: Vec<f32> = (0..PIECE * SUPERBLOCK).map(|_| deviation * random.normal()).collect();
        let mut blocks = vec![0; weights.len() / ty.block_len() * ty.block_bytes()];
        encode(ty, &weights, &mut blocks)?;
        Ok(Stream { ty, row_len, blocks, at: 0 })
    }

    /// Whether it is one of these weights.
    pub(super) fn is_of(&self, ty: TensorType, row_len: u64) -> bool {
        (self.ty, self.row_len) == (ty, row_len)
    }

    /// Gives the next `bytes` bytes to `sink`, part by part. Whole rows end where blocks do, so the next ones begin
    /// there.
    pub(super) fn take(&mut self, mut bytes: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while bytes > 0 {
            let rest = &self.blocks[self.at..];
            let part = &rest[..usize::try_from(bytes).map_or(rest.len(), |bytes| bytes.min(rest.len()))];
            sink(part)?;
            bytes -= part.len() as u64;
            self.at = (self.at + part.len()) % self.blocks.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_on_where_they_were_and_begin_again_at_the_end() {
        let mut stream = Stream::new(TensorType::Q8_0, 64).unwrap();
        let period = stream.blocks.len();
        let mut taken = Vec::new();
        for bytes in [68, period as u64, 68] {
            let keep = |part: &[u8]| {
                taken.extend_from_slice(part);
                Ok(())
            };
            stream.take(bytes, keep).unwrap();
        }
        assert_eq!(taken.len(), period + 2 * 68);
        assert_eq!(taken[..2 * 68], taken[period..]);
        assert_ne!(taken[..68], taken[68..2 * 68]);
    }
}
