//! Beginnings that sequences have in common: worked on once, kept once.

use super::{Member, SequenceId, Sequences};
use crate::state::PAGE;

impl Sequences {
    /// Gives a member a page of its own in the place of one that others use too.
    pub(super) fn own_page(&mut self, place: usize, page: usize) {
        let shared = self.members[place].pages[page];
        if self.pages.is_shared(shared)
            && let Some(fresh) = self.pages.take()
        {
            self.copy_page(shared, fresh);
            self.pages.release(shared);
            self.members[place].pages[page] = fresh;
        }
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        self.context.ops.states.iter_mut().for_each(|state| state.copy_page(from, to));
    }

    /// The sequence with the adapters of the one at `place` that begins with most of these tokens, the one fed first of
    /// several, and how many. The last token is not among them: its logits are asked for.
    pub(super) fn most_alike(&self, place: usize, tokens: &[u32]) -> Option<(SequenceId, usize)> {
        let adapters = &self.members[place].adapters;
        let common = |member: &Member| {
            let both = member.tokens.iter().take(member.pristine()).zip(&tokens[..tokens.len() - 1]);
            both.take_while(|(a, b)| a == b).count()
        };
        let others = self.members.iter().filter(|member| member.adapters == *adapters);
        let alike = others.filter_map(|member| Some((member.id?, common(member))));
        let first = alike.filter(|&(_, common)| common > 0);
        first.max_by_key(|&(id, common)| (common, u64::MAX - id.generation))
    }

    /// Lets those sequences begin whose common beginning with another one is worked on now.
    pub(super) fn take_over(&mut self) {
        for at in 0..self.queue.len() {
            let place = self.queue[at];
            if let Some((donor, common)) = self.members[place].donor
                && self.members[donor.place].worked >= common
            {
                self.take(place, donor, common);
            }
        }
    }

    /// Takes over `common` tokens: whole pages are shared already, the last one's beginning is copied.
    fn take(&mut self, place: usize, donor: SequenceId, common: usize) {
        if !common.is_multiple_of(PAGE) {
            let page = common / PAGE;
            self.copy_page(self.members[donor.place].pages[page], self.members[place].pages[page]);
        }
        self.context.ops.states.iter_mut().for_each(|state| state.share(donor.place, place, common));
        let member = &mut self.members[place];
        (member.worked, member.donor) = (common, None);
    }

    /// Gives the sequences that wait for this one what it has worked out, before it forgets all but `len` tokens.
    pub(super) fn hand_over(&mut self, id: SequenceId, len: usize) {
        for place in 0..self.members.len() {
            if let Some((donor, common)) = self.members[place].donor
                && donor == id
                && common > len
            {
                self.take(place, id, common.min(self.members[id.place].worked));
            }
        }
    }
}
