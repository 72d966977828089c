//! The allocator of static programs: musl's own costs more processor time (`docs/figures.md`).

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
