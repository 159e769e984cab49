//! The `orlop` program: everything is in the library, see [`orlop::cli`].

/// musl's own allocator asks the kernel for single pages and gives them back:
/// a third of the system calls of a command like `state`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() {
    // Protecting the binary executes it again: better before the command line
    // is understood than to understand it twice. The command sees to it that
    // it is protected whatever happens here, and reports why it cannot be.
    if orlop::cli::may_enter(std::env::args_os()) {
        let _ = orlop::container::protect::ensure();
    }
    // The status is the whole answer of a foreground `run` or `exec`, 0 to 255.
    std::process::exit(orlop::cli::run(std::env::args_os()));
}
