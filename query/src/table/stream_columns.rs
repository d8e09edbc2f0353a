//! The columns of what a process has as standard input, output and error.

use arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use kcap_format::proto;

use super::column::Column;
use super::text::{FILE_TYPES, file_type, kernel_text};
use super::types::address_from_wire;

/// The columns, from whatever row the streams are in.
pub(super) fn columns<R: 'static>(
    of: impl for<'a> Fn(&'a R) -> Option<&'a proto::Streams> + Copy + Send + Sync + 'static,
) -> Vec<Column<[R]>> {
    let mut columns = Vec::new();
    columns.extend(of_one("stdin", move |row: &R| of(row)?.stdin.as_ref()));
    columns.extend(of_one("stdout", move |row: &R| of(row)?.stdout.as_ref()));
    columns.extend(of_one("stderr", move |row: &R| of(row)?.stderr.as_ref()));
    columns
}

#[rustfmt::skip]
fn of_one<R: 'static>(
    name: &str,
    of: impl for<'a> Fn(&'a R) -> Option<&'a proto::Descriptor> + Copy + Send + Sync + 'static,
) -> Vec<Column<[R]>> {
    let name = |part: &str| format!("{name}_{part}");
    let port = |port: u32| u16::try_from(port).ok().filter(|port| *port != 0);
    vec![
        Column::enumeration(&name("type"), &FILE_TYPES, "What it is: file, directory, character_device, block_device, pipe, socket or symlink; null when it was closed, or is not known", move |rows: &[R], row| file_type(of(&rows[row])?.mode)),
        Column::number::<UInt32Type>(&name("mode"), "Its type and permissions, as `st_mode` of stat(2)", move |rows: &[R], row| Some(of(&rows[row])?.mode)),
        Column::rare_text(&name("path"), "Path of the file; of pipes and others that no directory holds a name at most", move |rows: &[R], row| kernel_text(&of(&rows[row])?.file.as_ref()?.path)),
        Column::number::<UInt64Type>(&name("socket_cookie"), "The socket, as in `sockets`; null for files, and when nobody had asked for its cookie", move |rows: &[R], row| Some(of(&rows[row])?.socket.as_ref()?.cookie).filter(|cookie| *cookie != 0)),
        Column::address(&name("local_ip"), "Local address of the socket; null for files", move |rows: &[R], row| address_from_wire(&of(&rows[row])?.socket.as_ref()?.local_address)),
        Column::number::<UInt16Type>(&name("local_port"), "Local port of the socket", move |rows: &[R], row| port(of(&rows[row])?.socket.as_ref()?.local_port)),
        Column::address(&name("remote_ip"), "Address of the socket's peer", move |rows: &[R], row| address_from_wire(&of(&rows[row])?.socket.as_ref()?.remote_address)),
        Column::number::<UInt16Type>(&name("remote_port"), "Port of the socket's peer", move |rows: &[R], row| port(of(&rows[row])?.socket.as_ref()?.remote_port)),
    ]
}
