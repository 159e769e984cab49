//! Programs that keep hold of something while they count: for checkpoints.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Counts up in memory and says where it is by a link, /count, as long as `still` it can.
/// Of a file that it had open as it was saved, a second restore would find that it has changed.
fn count(mut still: impl FnMut() -> std::io::Result<()>) -> ! {
    for i in 1u64.. {
        if let Err(e) = still() {
            fs::write("/lost", e.to_string()).expect("/lost");
            break;
        }
        // Either may be there or not, when this is an older image once more.
        let _ = std::os::unix::fs::symlink(i.to_string(), "/count.new");
        let _ = fs::rename("/count.new", "/count");
        std::thread::sleep(Duration::from_millis(100));
    }
    loop {
        std::thread::park();
    }
}

/// Waits in vfork(2), again and again, for so many milliseconds.
pub fn vfork(wait: &str) -> ! {
    let wait = Duration::from_millis(wait.parse().expect("ms"));
    count(|| runtime_tests::sys::wait_in_vfork(wait))
}

/// Holds a lock on a file (flock(2)).
pub fn lock(path: &str) -> ! {
    let file = File::create(path).expect("the file");
    file.try_lock().expect("somebody else holds the lock");
    count(|| file.sync_all())
}

/// Holds both ends of a connection, over which a byte goes each time.
pub fn connection() -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut one = TcpStream::connect(listener.local_addr().expect("its address")).expect("connect");
    let (mut other, _) = listener.accept().expect("accept");
    drop(listener);
    count(|| {
        one.write_all(&[7])?;
        other.read_exact(&mut [0])
    })
}
