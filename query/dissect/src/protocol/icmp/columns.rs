//! Columns of table `icmp`.

use crate::protocol::column::Column;

pub(super) const COLUMNS: &[Column] = &[
    Column::uint("icmp.version", "4 or 6"),
    Column::text("icmp.request.message", "Name of the request's type and code: `EchoRequest(0)`"),
    Column::uint("icmp.request.type", "Type of the request, or of the single message"),
    Column::uint("icmp.request.code", "Its code"),
    Column::uint("icmp.request.id", "Identifier of an echo request"),
    Column::uint("icmp.request.seq", "Sequence number of an echo request"),
    Column::text("icmp.response.message", "Name of the response's type and code"),
    Column::uint("icmp.response.type", "Type of the response"),
    Column::uint("icmp.response.code", "Its code"),
    Column::ip("path", "Whom the request was for"),
    Column::uint("icmp.original.flow_id", "Flow of the packet that an error speaks of"),
    Column::ip("icmp.original.source.ip", "Source of that packet"),
    Column::uint("icmp.original.source.port", "Its port"),
    Column::ip("icmp.original.destination.ip", "Destination of that packet"),
    Column::uint("icmp.original.destination.port", "Its port"),
    Column::uint("icmp.original.iana_number", "Number of that packet's IP protocol"),
];
