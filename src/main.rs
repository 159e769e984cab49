//! The `orlop` program: everything is in the library, see [`orlop::cli`].

fn main() {
    // The status is the whole answer of a foreground `run` or `exec`, 0 to 255.
    std::process::exit(orlop::cli::run(std::env::args_os()));
}
