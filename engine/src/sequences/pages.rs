/// Pages of a cache, each in use by any number of sequences.
pub(super) struct Pages {
    /// Sequences that use each page.
    users: Vec<u32>,
    free: Vec<u32>,
}

impl Pages {
    pub(super) fn new(count: usize) -> Self {
        // The first page is handed out first.
        let free = (0..count as u32).rev().collect();
        Self { users: vec![0; count], free }
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// A page that nobody used.
    pub(super) fn take(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.users[page as usize] = 1;
        Some(page)
    }

    /// One user more of a page that is in use.
    pub(super) fn share(&mut self, page: u32) -> u32 {
        self.users[page as usize] += 1;
        page
    }

    /// One user less.
    pub(super) fn release(&mut self, page: u32) {
        let users = &mut self.users[page as usize];
        *users -= 1;
        if *users == 0 {
            self.free.push(page);
        }
    }

    /// One user less of all but the first `kept` pages of a sequence. The last is given back first, so that a sequence that
    /// is alone always has the pages in their order.
    pub(super) fn release_last(&mut self, pages: &mut Vec<u32>, kept: usize) {
        pages.drain(kept..).rev().for_each(|page| self.release(page));
    }

    pub(super) fn is_shared(&self, page: u32) -> bool {
        self.users[page as usize] > 1
    }
}
