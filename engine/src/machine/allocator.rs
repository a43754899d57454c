/// Has the C library's allocator give all that is freed in pieces of 128 KiB and more back to the system, at once, and have
/// one heap for all threads.
///
/// glibc's holds on to ever larger pieces as it sees them freed, for each thread: a server that read some long requests
/// keeps a hundred megabytes and more for the next. And each of a dozen heaps keeps what is free between what is not. Before
/// there are threads: heaps that they have already stay. Where the allocator is another one, nothing is done. For the whole
/// process: a program's to decide, not a library's.
#[allow(unsafe_code)] // A function of the C library.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        /// From where on glibc maps pieces of their own, unless it is left to change it.
        const THRESHOLD: libc::c_int = 128 << 10;
        // SAFETY: it takes numbers, and may be called at any time.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
