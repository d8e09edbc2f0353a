//! The file of `--config`: payload tasks, which record the whole packets of some beside headers of all others. See
//! `spec/config.md`.

mod meta;
mod table;
mod task;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kcap_filter::Filter;
use kcap_recorder_ebpf::RULE_COUNT_MAX;
use toml::de::DeTable;

use table::{Options, Problem};
pub(crate) use task::PayloadTask;

/// Longest file that is read.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What a file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Tables `[[payload]]`, in their order.
    pub(crate) payload: Vec<PayloadTask>,
}

impl Config {
    /// Reads a file. The error is one line that says what is wrong, and where.
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        let file = Path::new(path);
        let len = fs::metadata(file).map_err(|error| format!("cannot read it: {error}"))?.len();
        if len > FILE_LEN_MAX {
            return Err(format!("it has {len} bytes, and {FILE_LEN_MAX} at most are read"));
        }
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read it: {error}"))?;
        let config = Self::parse(&text).map_err(|problem| problem.describe(&text))?;
        Ok(Self { path: file.to_owned(), ..config })
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let table = DeTable::parse(text).map_err(|error| Problem {
            at: error.span().map_or(0, |span| span.start),
            key: String::new(),
            message: error.message().replace('\n', " "),
        })?;
        let options = Options::of("", table.get_ref(), table.span().start);
        options.only(&["payload"])?;
        let mut payload = Vec::new();
        let mut names = BTreeSet::new();
        for (number, options) in options.tables("payload")?.into_iter().enumerate() {
            let at = options.at();
            let task = PayloadTask::read(&options)?;
            if number + 1 >= RULE_COUNT_MAX as usize {
                let message = format!("there can be {} tasks at most", RULE_COUNT_MAX - 1);
                return Err(Problem { at, key: "payload".to_owned(), message });
            }
            if !names.insert(task.name.clone()) {
                let message = format!("there are two tasks '{}'", task.name);
                return Err(Problem { at, key: "payload.name".to_owned(), message });
            }
            payload.push(task);
        }
        let filters: Vec<(&Filter, u32)> =
            payload.iter().filter_map(|task| Some((task.filter.as_ref()?.of_sockets()?, 1))).collect();
        Filter::compile_set(&filters).map_err(|error| Problem {
            at: 0,
            key: "payload.filter".to_owned(),
            message: format!("all tasks together: {error}"),
        })?;
        Ok(Self { path: PathBuf::new(), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = Config::parse(text).map_err(|problem| problem.describe(text)).unwrap_err();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    const SHOP: &str = r#"
        [[payload]]
        name = "shop"
        conditions = ["process.name=nginx", "container.label=tier=web"]
        follow_children = true
        filter = "tcp port 80"
        skip_payload = true
        meta = "process.name+pod.min"

        [[payload]]
        name = "cache"
        conditions = ["user.id=99"]
    "#;

    #[test]
    fn tasks_are_what_they_say() {
        let config = Config::parse(SHOP).unwrap();
        let [shop, cache] = &config.payload[..] else { panic!("two tasks") };
        assert_eq!((shop.name.as_str(), shop.follow_children, shop.skip_payload), ("shop", true, true));
        let conditions: Vec<String> = shop.conditions.iter().map(ToString::to_string).collect();
        assert_eq!(conditions, ["process.name=nginx", "container.label=tier=web"]);
        assert_eq!(shop.filter.as_ref().map(|filter| filter.expression.as_str()), Some("tcp port 80"));
        assert_eq!(shop.meta, "process.name+pod.min");
        assert_eq!((cache.follow_children, cache.skip_payload, cache.meta.as_str()), (false, false, ""));
        assert!(cache.filter.is_none());
        assert!(Config::parse("").unwrap().payload.is_empty());
    }

    #[test]
    fn the_example_of_the_document_is_a_file() {
        let document = include_str!("../../../spec/config.md");
        let (_, own) = document.split_once("## The file of `kcap-record run`").unwrap();
        let example = own.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let names: Vec<String> =
            Config::parse(example).unwrap().payload.into_iter().map(|task| task.name).collect();
        assert_eq!(names, ["shop", "who asks the database"]);
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let task = "[[payload]]\nname = 'a'\nconditions = ['user.id=1']\n";
        for (text, expected) in [
            ("x = ".to_owned(), "line 1: "),
            ("\n[[paylaod]]\n".to_owned(), "line 2: there is no key 'paylaod'; did you mean 'payload'?"),
            ("\ncolor = 1\n".to_owned(), "line 2: there is no key 'color'; the keys are payload"),
            ("[payload]\n".to_owned(), "line 1: payload: is one table: write [[payload]]"),
            ("payload = [1]\n".to_owned(), "line 1: payload: is no list of tables: write [[payload]]"),
            (
                format!("{task}skip_paylod = true\n"),
                "line 4: there is no key 'payload.skip_paylod'; did you mean 'skip_payload'?",
            ),
            (
                format!("{task}skip_payload = 'yes'\n"),
                "line 4: payload.skip_payload: must be true or false, not a string",
            ),
            (format!("{task}filter = 'tcp prt 80'\n"), "line 4: payload.filter: "),
            (format!("{task}filter = 7\n"), "line 4: payload.filter: must be a text, not an integer"),
            (
                format!("{task}meta = 'proces.name'\n"),
                "line 4: payload.meta: 'proces.name' selects nothing; did you mean 'process.name'?",
            ),
            (format!("{task}\n{task}"), "line 5: payload.name: there are two tasks 'a'"),
            ("[[payload]]\nname = 'a'\n".to_owned(), "line 1: payload.conditions: task 'a' has no condition"),
            (
                "[[payload]]\nname = 'a'\nconditions = []\n".to_owned(),
                "line 3: payload.conditions: task 'a' has no condition",
            ),
            (
                "[[payload]]\nname = 'a'\nconditions = [\n'user.id=1',\n'process.nmae=x']\n".to_owned(),
                "line 5: payload.conditions: there is no key 'process.nmae'; did you mean 'process.name'?",
            ),
            (
                "[[payload]]\nname = 'a'\nconditions = 'user.id=1'\n".to_owned(),
                "line 3: payload.conditions: must be a list of texts, not a string",
            ),
            ("[[payload]]\nconditions = ['user.id=1']\n".to_owned(), "line 1: payload.name: is missing"),
            ("[[payload]]\nname = ''\n".to_owned(), "line 2: payload.name: "),
        ] {
            let found = error(&text);
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        let found = error(&format!("{task}filter = 'tcp prt 80'\n"));
        assert!(found.contains("position 4") && found.contains("'tcp prt 80'"), "{found}");
    }

    #[test]
    fn there_are_no_more_tasks_than_the_kernel_has_room_for() {
        let tasks = |count: u32| -> String {
            let task = |n| format!("[[payload]]\nname = '{n}'\nconditions = ['user.id={n}']\n");
            (0..count).map(task).collect()
        };
        assert_eq!(Config::parse(&tasks(31)).unwrap().payload.len(), 31);
        assert!(error(&tasks(32)).contains("31 tasks at most"));
        let ports: Vec<_> = (1..200).map(|number| format!("port {number}")).collect();
        let many = format!("{}filter = '{}'\n", tasks(1), ports.join(" or "));
        assert!(Config::parse(&many).is_ok());
        let twice = format!("{many}{}", many.replace("name = '0'", "name = 'b'"));
        assert!(error(&twice).contains("instructions"));
    }

    #[test]
    fn files_that_cannot_be_read_are_told() {
        assert!(Config::open("/no/such/file.toml").unwrap_err().contains("No such file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), SHOP).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(Config::open(path).unwrap().path, file.path());
        fs::write(file.path(), vec![b'#'; 2 << 20]).unwrap();
        assert!(Config::open(path).unwrap_err().contains("bytes"));
    }
}
