//! Table Storage's emulator, and what is said to it.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Where Azurite is; says so where it is not.
pub(crate) fn connection_string() -> Option<String> {
    let connection = functions_test_host::process_environment().remove("AZURITE_CONNECTION_STRING");
    if connection.is_none() {
        println!("skipped: AZURITE_CONNECTION_STRING is not set, so nothing runs on tables");
    }
    connection
}

/// A way to Azurite on which everything is written down.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
    cut: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
}

impl Tap {
    pub(crate) fn start(azurite: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Self {
            address: listener.local_addr().unwrap(),
            said: Arc::default(),
            cut: Arc::default(),
            held: Arc::default(),
        };
        let (said, cut, held) = (Arc::clone(&tap.said), Arc::clone(&tap.cut), Arc::clone(&tap.held));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(azurite).unwrap();
                let (back, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (said, cut, cut_back, held) =
                    (Arc::clone(&said), Arc::clone(&cut), Arc::clone(&cut), Arc::clone(&held));
                thread::spawn(move || {
                    copy(client, server, &cut, |bytes| {
                        said.lock().unwrap().extend(bytes);
                        while held.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(5));
                        }
                    });
                });
                thread::spawn(move || copy(back, to, &cut_back, |_| {}));
            }
        });
        tap
    }

    /// From now on connections break off.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Whether what is sent waits on its way.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// All that was sent to Azurite.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool, saw: impl Fn(&[u8])) {
    let mut buffer = [0; 8_192];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        saw(&buffer[..length]);
        if cut.load(Ordering::SeqCst) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
