//! A web server in the test's own process, for clients that only matter for who they are.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// A web server that answers until the test ends. Gives its port.
pub fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut reader = BufReader::new(&connection);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|len| len > 2) {
                line.clear();
            }
            let _ = (&connection).write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    port
}

/// A command of busybox's shell that asks a server once.
pub fn get(port: u16) -> String {
    format!("wget -q -O /dev/null http://127.0.0.1:{port}/")
}
