//! The states of TCP's two ends as Zeek follows them (`TCPSessionAdapter.cc`), and the `conn_state` that they give
//! (`base/protocols/conn/main.zeek`).

/// State of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// Has sent nothing.
    #[default]
    Inactive,
    /// Has sent a SYN.
    SynSent,
    /// Has sent a SYN-ACK, as the side that seemed to begin.
    SynAckSent,
    /// Has sent something, but no SYN was seen.
    Partial,
    /// Has done its part of the handshake.
    Established,
    /// Has sent a FIN.
    Closed,
    /// Has sent a RST.
    Reset,
}

/// One end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Endpoint {
    pub(super) state: EndpointState,
    previous: EndpointState,
}

/// Flags that matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
}

impl Endpoint {
    fn set(&mut self, state: EndpointState) {
        if state != self.state {
            self.previous = self.state;
            self.state = state;
        }
    }

    /// Follows a packet that `sender` sent to `peer`.
    pub(super) fn update(sender: &mut Self, peer: &mut Self, is_client: bool, flags: Flags) {
        use EndpointState as State;
        match sender.state {
            State::Inactive => Self::from_inactive(sender, peer, is_client, flags),
            State::SynSent | State::SynAckSent => {
                if flags.fin {
                    sender.set(State::Closed);
                }
                if flags.rst {
                    sender.set(State::Reset);
                }
            }
            State::Partial | State::Established => {
                if flags.syn && !flags.ack && sender.state == State::Partial && peer.state == State::Inactive
                {
                    sender.set(State::SynSent);
                }
                if flags.fin && !flags.rst {
                    sender.set(State::Closed);
                    // A FIN that was followed by a RST, before ours came: both are closed.
                    if peer.state == State::Reset && peer.previous == State::Closed {
                        peer.set(State::Closed);
                    }
                }
                if flags.rst {
                    sender.set(State::Reset);
                }
            }
            State::Closed => {
                if flags.rst {
                    sender.previous = State::Closed;
                    let peer_was_closed = peer.state == State::Closed || peer.previous == State::Closed;
                    // A RST after both closed resets nothing.
                    if !peer_was_closed && !flags.fin {
                        sender.set(State::Reset);
                    }
                }
            }
            State::Reset => {}
        }
    }

    fn from_inactive(sender: &mut Self, peer: &mut Self, is_client: bool, flags: Flags) {
        use EndpointState as State;
        if flags.syn {
            if is_client {
                sender.set(if flags.ack { State::SynAckSent } else { State::SynSent });
            } else {
                sender.set(State::Established);
                if matches!(peer.state, State::SynSent | State::SynAckSent) {
                    peer.set(State::Established);
                }
            }
        }
        if flags.fin {
            sender.set(State::Closed);
        }
        if flags.rst {
            sender.set(State::Reset);
        }
        if sender.state == State::Inactive {
            sender.set(State::Partial);
        }
    }
}

/// How a connection went, in Zeek's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// A SYN, and no answer. For UDP: only the client spoke.
    S0,
    /// Established, not ended.
    S1,
    /// Established and ended in order. For UDP: both spoke.
    Sf,
    /// The attempt was rejected.
    Rej,
    /// Established; the client wants to close, and the server did not answer that.
    S2,
    /// Established; the server wants to close, and the client did not answer that.
    S3,
    /// Established; the client aborted.
    Rsto,
    /// Established; the server aborted.
    Rstr,
    /// The client sent a SYN and then a RST; the server was never seen.
    Rstos0,
    /// The server sent a SYN-ACK and then a RST; the client's SYN was never seen.
    Rstrh,
    /// The client sent a SYN and then a FIN; the server was never seen.
    Sh,
    /// The server sent a SYN-ACK and then a FIN; the client's SYN was never seen. For UDP: only the server spoke.
    Shr,
    /// No SYN seen, or nothing of the above.
    Oth,
}

impl ConnState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::S0,
        Self::S1,
        Self::Sf,
        Self::Rej,
        Self::S2,
        Self::S3,
        Self::Rsto,
        Self::Rstr,
        Self::Rstos0,
        Self::Rstrh,
        Self::Sh,
        Self::Shr,
        Self::Oth,
    ];

    /// Zeek's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }

    /// Of a TCP connection; `is_empty` when neither side sent data.
    pub(super) fn of_tcp(client: EndpointState, server: EndpointState, is_empty: bool) -> Self {
        use EndpointState as State;
        let client_inactive = matches!(client, State::Inactive | State::Partial);
        let server_inactive = matches!(server, State::Inactive | State::Partial);
        if server == State::Reset {
            return if matches!(client, State::SynSent | State::SynAckSent)
                || (client == State::Reset && is_empty)
            {
                Self::Rej
            } else if client_inactive {
                Self::Rstrh
            } else {
                Self::Rstr
            };
        }
        match (client, server) {
            (State::Reset, _) if server_inactive => Self::Rstos0,
            (State::Reset, _) => Self::Rsto,
            (State::Closed, State::Closed) => Self::Sf,
            (State::Closed, _) if server_inactive => Self::Sh,
            (State::Closed, _) => Self::S2,
            (_, State::Closed) if client_inactive => Self::Shr,
            (_, State::Closed) => Self::S3,
            (State::SynSent, State::Inactive) => Self::S0,
            (State::Established, State::Established) => Self::S1,
            _ => Self::Oth,
        }
    }

    /// Of a UDP conversation.
    pub(super) fn of_udp(client_spoke: bool, server_spoke: bool) -> Self {
        match (client_spoke, server_spoke) {
            (true, true) => Self::Sf,
            (true, false) => Self::S0,
            (false, true) => Self::Shr,
            (false, false) => Self::Oth,
        }
    }
}
