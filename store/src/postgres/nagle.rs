//! A stand-in for what sqlx 0.9.0 forgets: TCP_NODELAY
//! (<https://github.com/transact-rs/sqlx/issues/4335>, mended after that release).
//!
//! Without it the end of every larger statement waits until the server has acknowledged its
//! beginning, which servers put off for 40 ms in the hope of an answer to go with it: a batch of 20
//! took 100 ms instead of 3. sqlx does not show its sockets, so they are looked for among the files
//! of this process. To be deleted with the next release.

use std::fs;
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Sets TCP_NODELAY on this process's connections to `port` of any server. Where its files are not
/// listed, nothing happens.
pub(super) fn send_at_once(port: u16) {
    let Ok(files) = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")) else {
        return;
    };
    let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers {
        let Some(socket) = duplicate(number).map(TcpStream::from) else { continue };
        if socket.peer_addr().is_ok_and(|peer| peer.port() == port) {
            // Fails only for what is no TCP connection.
            let _ = socket.set_nodelay(true);
        }
    }
}

/// A second handle of the open file with this number, if there is one.
fn duplicate(number: RawFd) -> Option<OwnedFd> {
    if number < 0 {
        return None;
    }
    // SAFETY: the number is not -1, and it is used for one system call only, which makes a handle
    // of our own. Should its owner close the file just now, that call fails, or gives a handle of
    // what has the number by then; either will do, because what the handle belongs to is looked at
    // afterwards. No memory depends on it.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_to_the_port_are_found() {
        let (server, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let connect =
            |listener: &TcpListener| TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, others) = (connect(&server), connect(&other));
        send_at_once(server.local_addr().unwrap().port());
        assert!(ours.nodelay().unwrap());
        assert!(!others.nodelay().unwrap());
    }
}
