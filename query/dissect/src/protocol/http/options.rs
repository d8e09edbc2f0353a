//! Options of HTTP.

use super::head::Head;
use crate::protocol::{CommonOptions, OptionError, OptionTable};

/// Bytes of a form that are kept for its parameters, when its body isn't to be reported.
const FORM_LEN_MAX: usize = 64 * 1024;

/// What is in force for HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `send_request`.
    pub(super) send_request: bool,
    /// `send_response`.
    pub(super) send_response: bool,
    /// `transaction_timeout`.
    pub(super) transaction_timeout_ns: i64,
    /// `hide_keywords`: parameters whose values are hidden.
    pub(super) hide_keywords: Vec<String>,
    /// `redact_authorization`: whether `Authorization` and `Proxy-Authorization` are hidden.
    pub(super) redact_authorization: bool,
    /// `redact_headers`: header fields whose values are hidden, in lower case.
    pub(super) redact_headers: Vec<String>,
    /// `send_headers`, in lower case, and `send_all_headers`.
    pub(super) send_headers: SendHeaders,
    /// `include_body_for` and `include_request_body_for`: media types, or parts of their names.
    include_request_body_for: Vec<String>,
    /// `include_body_for` and `include_response_body_for`.
    include_response_body_for: Vec<String>,
    /// `decode_body`: whether content codings are undone.
    pub(super) decode_body: bool,
    /// `split_cookie`: whether cookies become fields.
    pub(super) split_cookie: bool,
    /// `real_ip_header`: the header field with the client's address, in lower case.
    pub(super) real_ip_header: Option<String>,
    /// `max_message_size`, in bytes.
    pub(super) max_message_size: usize,
}

/// Header fields that are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendHeaders {
    All,
    Some(Vec<String>),
}

impl SendHeaders {
    pub(super) fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.iter().any(|other| other == name),
        }
    }
}

impl Options {
    /// Takes them out of a table.
    pub(super) fn read(common: &CommonOptions, table: &mut OptionTable) -> Result<Self, OptionError> {
        const MAX_MESSAGE_SIZE: u64 = 10 * 1024 * 1024;
        let both = table.texts("include_body_for")?.unwrap_or_default();
        let with_both = |own: Option<Vec<String>>| [both.clone(), own.unwrap_or_default()].concat();
        let include_request_body_for = with_both(table.texts("include_request_body_for")?);
        let include_response_body_for = with_both(table.texts("include_response_body_for")?);
        let send_headers = lower_case(table.texts("send_headers")?);
        let send_all_headers = table.switch("send_all_headers", false)?;
        Ok(Self {
            send_request: common.send_request,
            send_response: common.send_response,
            transaction_timeout_ns: common.transaction_timeout_ns,
            hide_keywords: table.texts("hide_keywords")?.unwrap_or_default(),
            redact_authorization: table.switch("redact_authorization", false)?,
            redact_headers: lower_case(table.texts("redact_headers")?),
            send_headers: if send_all_headers { SendHeaders::All } else { SendHeaders::Some(send_headers) },
            include_request_body_for,
            include_response_body_for,
            decode_body: table.switch("decode_body", true)?,
            split_cookie: table.switch("split_cookie", false)?,
            real_ip_header: table.text("real_ip_header")?.map(|name| name.to_ascii_lowercase()),
            max_message_size: usize::try_from(table.number("max_message_size", MAX_MESSAGE_SIZE)?)
                .unwrap_or(usize::MAX),
        })
    }

    /// Whether the body of such a message is to be reported.
    pub(super) fn includes_body(&self, head: &Head) -> bool {
        let wanted = match head.method() {
            Some(_) => &self.include_request_body_for,
            None => &self.include_response_body_for,
        };
        let content_type = head.content_type().unwrap_or_default();
        wanted.iter().any(|part| content_type.contains(part.as_str()))
    }

    /// How much of the body of such a message is kept.
    pub(super) fn kept_body_len(&self, head: &Head) -> usize {
        if self.includes_body(head) {
            self.max_message_size
        } else if has_form(head) {
            FORM_LEN_MAX.min(self.max_message_size)
        } else {
            0
        }
    }
}

/// The body is a form's parameters.
pub(super) fn has_form(head: &Head) -> bool {
    head.method().is_some()
        && head.content_type().is_some_and(|content_type| content_type.contains("urlencoded"))
}

fn lower_case(names: Option<Vec<String>>) -> Vec<String> {
    names.unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, OptionError> {
        let mut table = OptionTable::new("http", text.parse().unwrap());
        let common = CommonOptions::read(&mut table, &[80])?;
        let options = Options::read(&common, &mut table)?;
        table.finish().map(|()| options)
    }

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn packetbeats_names() {
        let options = read(
            "send_request = true\nhide_keywords = [\"pass\"]\nredact_authorization = true\nredact_headers = [\"X-Key\"]\n\
             send_headers = [\"User-Agent\"]\nsend_all_headers = false\ninclude_body_for = [\"json\"]\n\
             include_request_body_for = [\"text/html\"]\ninclude_response_body_for = [\"\"]\ndecode_body = false\n\
             split_cookie = true\nreal_ip_header = \"X-Forwarded-For\"\nmax_message_size = 1000",
        )
        .unwrap();
        assert!(
            options.send_request
                && options.redact_authorization
                && options.split_cookie
                && !options.decode_body
        );
        assert_eq!(options.redact_headers, ["x-key"]);
        assert_eq!(options.real_ip_header.as_deref(), Some("x-forwarded-for"));
        assert!(options.send_headers.includes("user-agent") && !options.send_headers.includes("host"));
        assert_eq!(options.max_message_size, 1000);
        let json = head("POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n");
        let form = head("POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n");
        assert_eq!((options.kept_body_len(&json), options.kept_body_len(&form)), (1000, 1000));
        assert!(options.includes_body(&json) && !options.includes_body(&form));
        assert!(
            options.includes_body(&head("HTTP/1.1 200 OK\r\n\r\n")),
            "an empty text is part of every media type"
        );
    }

    #[test]
    fn defaults() {
        let options = read("").unwrap();
        assert!(options.decode_body && !options.split_cookie && !options.redact_authorization);
        assert_eq!(options.max_message_size, 10_485_760);
        assert_eq!(options.kept_body_len(&head("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")), 0);
    }
}
