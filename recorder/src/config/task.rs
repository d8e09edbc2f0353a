//! `[[payload]]`

use kcap_format::proto;

use super::meta;
use super::table::{Options, Problem};
use crate::condition::Condition;
use crate::filter::PacketFilter;

const KEYS: [&str; 6] = ["name", "conditions", "follow_children", "filter", "skip_payload", "meta"];
const NAME_LEN_MAX: usize = proto::PayloadTask::NAME_LEN_MAX;

/// Packets that are recorded with their payload, whatever is recorded of others.
#[derive(Clone, Debug)]
pub(crate) struct PayloadTask {
    pub(crate) name: String,
    /// At least one.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) follow_children: bool,
    pub(crate) filter: Option<PacketFilter>,
    pub(crate) skip_payload: bool,
    /// Selectors; empty: all.
    pub(crate) meta: String,
}

impl PayloadTask {
    pub(super) fn read(options: &Options<'_, '_>) -> Result<Self, Problem> {
        options.only(&KEYS)?;
        let name = match options.text("name")? {
            Some(name) if !name.is_empty() && name.len() <= NAME_LEN_MAX => name.to_owned(),
            Some(_) => {
                return Err(options.problem("name", format!("must have 1 to {NAME_LEN_MAX} bytes")));
            }
            None => return Err(options.problem("name", "is missing: each task needs one")),
        };
        let conditions = options.list("conditions", str::parse::<Condition>)?.unwrap_or_default();
        let filter = options.text("filter")?.map(PacketFilter::parse_in_line).transpose();
        let filter = filter.map_err(|message| options.problem("filter", message))?;
        let skip_payload = options.switch("skip_payload")?;
        let follow_children = options.switch("follow_children")?;
        let meta = options.text("meta")?.unwrap_or_default().to_owned();
        meta::check(&meta).map_err(|message| options.problem("meta", message))?;
        if conditions.is_empty() {
            let message = format!(
                "task '{name}' has no condition, and would record all packets of the host: give it one, as in \
                 conditions = [\"process.name=nginx\"]"
            );
            return Err(options.problem("conditions", message));
        }
        Ok(Self { name, conditions, follow_children, filter, skip_payload, meta })
    }

    /// As recordings name it.
    pub(crate) fn to_proto(&self) -> proto::PayloadTask {
        proto::PayloadTask {
            name: self.name.clone(),
            conditions: self.conditions.iter().map(ToString::to_string).collect(),
            follow_children: self.follow_children,
            filter: self.filter.as_ref().map_or_else(String::new, |filter| filter.expression.clone()),
            skip_payload: self.skip_payload,
            meta: self.meta.clone(),
        }
    }
}
