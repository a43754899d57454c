//! The state of training, so that it goes on after an interruption as if there had been none.

use std::io::{self, Write};

use twox_hash::XxHash3_128;

use super::{TrainError, Trainer};

/// What the state of a [`Trainer`] begins with.
pub const TRAINING_MAGIC: [u8; 8] = *b"SISKTRN1";

/// Bytes of a hash.
const HASH: usize = 16;

impl Trainer {
    /// Writes all that further steps depend on but for the model, the options and the gradients since the last step: the adapter's numbers,
    /// and what the optimizer keeps of their gradients. The same state is the same bytes.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn save(&self, mut out: impl Write) -> io::Result<()> {
        let mut hasher = XxHash3_128::new();
        let mut write = |bytes: &[u8]| {
            hasher.write(bytes);
            out.write_all(bytes)
        };
        write(&TRAINING_MAGIC)?;
        write(&self.of().to_le_bytes())?;
        write(&self.lora.steps().to_le_bytes())?;
        for numbers in self.lora.state() {
            numbers.iter().try_for_each(|number| write(&number.to_le_bytes()))?;
        }
        let hash = hasher.finish_128();
        out.write_all(&hash.to_le_bytes())
    }

    /// Goes on from a saved state of the same changes of a model of the same matrices. The gradients begin anew.
    ///
    /// # Errors
    /// [`TrainError::State`]; the trainer is as it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), TrainError> {
        let wrong = |found| Err(TrainError::State { found });
        let Some((body, hash)) = state.split_last_chunk::<HASH>() else { return wrong("fewer bytes") };
        let Some((magic, rest)) = body.split_first_chunk() else { return wrong("fewer bytes") };
        if *magic != TRAINING_MAGIC {
            return wrong("something else");
        }
        if XxHash3_128::oneshot(body).to_le_bytes() != *hash {
            return wrong("bytes that were changed");
        }
        let Some((of, rest)) = rest.split_first_chunk() else { return wrong("fewer bytes") };
        if u128::from_le_bytes(*of) != self.of() {
            return wrong("one of other changes");
        }
        let Some((steps, rest)) = rest.split_first_chunk() else { return wrong("fewer bytes") };
        let (numbers, more) = rest.as_chunks();
        let wanted: usize = self.lora.state().iter().map(|part| part.len()).sum();
        if !more.is_empty() || numbers.len() != wanted {
            return wrong("other numbers");
        }
        let mut numbers = numbers.iter();
        for part in self.lora.state_mut() {
            part.iter_mut().zip(&mut numbers).for_each(|(to, bytes)| *to = f32::from_le_bytes(*bytes));
        }
        self.lora.set_steps(u32::from_le_bytes(*steps));
        self.lora.forget_gradients();
        self.context.ops.batch.clear();
        self.lora.renew();
        Ok(())
    }

    /// Tells apart what states are of: the changes and the shapes of what they change.
    fn of(&self) -> u128 {
        let mut hasher = XxHash3_128::new();
        for pair in self.lora.pairs() {
            let name = self.model.network().linears().find(|linear| linear.id == pair.linear);
            let name = name.map_or("", |linear| linear.name.as_str());
            hasher.write(&(name.len() as u64).to_le_bytes());
            hasher.write(name.as_bytes());
            for size in [pair.rank, pair.rows, pair.row_len] {
                hasher.write(&(size as u64).to_le_bytes());
            }
            hasher.write(&pair.scale.to_le_bytes());
        }
        hasher.finish_128()
    }
}
