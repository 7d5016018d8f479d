//! Completion: what a shell may put next on a command line, with the names that are in the
//! swarm.
//!
//! A shell that was told to (`skep completion`) runs this program at each key that asks for
//! completions, with [`VARIABLE`] set. Commands and options come from the command tree,
//! values by the name that help gives them: one rule for all commands. Whatever goes wrong
//! means that there are no names; a person types, and nothing may be said or waited for.

use crate::args::Cli;
use crate::client::{Client, Host};
use crate::contexts::Contexts;
use crate::place::{Place, variable};
use crate::view::View;
use anyhow::{Context as _, Result};
use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, ValueHint};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCandidates, CompleteEnv, CompletionCandidate, Shell};
use skep_proto::pb;
use skep_types::STACK_LABEL;
use skep_types::ServiceMode;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// Set to the name of a shell that asks for completions.
pub const VARIABLE: &str = "SKEP_COMPLETE";
/// Longest wait for names.
const MOST_WAIT: Duration = Duration::from_millis(300);

/// Whether a shell asked for completions, which it has been given then.
pub fn answered() -> bool {
    let line = std::env::args_os();
    let here = std::env::current_dir().ok();
    let command = || command(&typed(std::env::args_os()));
    let asked = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .try_complete(line, here.as_deref());
    // What goes wrong is said nowhere.
    asked.unwrap_or(true)
}

/// What makes a shell ask.
///
/// # Errors
/// There is no such script for the shell.
pub fn script(shell: Shell) -> Result<String> {
    let shells = Shells::builtins();
    let known = shells.completer(&shell.to_string());
    let known = known.with_context(|| format!("{shell} cannot complete commands of skep"))?;
    let mut script = Vec::new();
    known.write_registration(VARIABLE, "skep", "skep", "skep", &mut script)?;
    let script = String::from_utf8(script)?;
    Ok(match shell {
        Shell::Zsh => script.replace(ZSH_VALUES, ZSH_OPEN_VALUES) + ZSH_FIRST,
        _ => script,
    })
}

/// Where the script for zsh offers values, each of which it ends with a space.
const ZSH_VALUES: &str = "[[ -n $other ]] && _describe -V 'values' other";
/// The same, but behind `web=` something follows.
const ZSH_OPEN_VALUES: &str = "local -a open=(${(M)other:#*=})
        other=(${other:#*=})
        [[ -n $open ]] && _describe -V 'values' open -S ''
        [[ -n $other ]] && _describe -V 'values' other";
/// A file that zsh finds by its name is first read when it is to complete already.
const ZSH_FIRST: &str = "[[ $funcstack[1] == _skep ]] && _clap_dynamic_completer_skep \"$@\"\n";

/// The words of the command line that is being typed: what follows `--`.
fn typed(line: impl Iterator<Item = OsString>) -> Vec<String> {
    let words = line.skip_while(|word| word != "--").skip(1);
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// The command tree with all that can be put on this line.
fn command(typed: &[String]) -> Command {
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let index = index.and_then(|index| index.parse().ok());
    let word = match index {
        Some(index) => typed.get::<usize>(index),
        None => typed.last(),
    };
    let option = word.is_some_and(|word| word.starts_with('-'));
    let mut root = Cli::command();
    root.build();
    extended(root, option)
}

/// `option`: the word that is typed is one. Otherwise they are not shown where there is
/// anything else.
fn extended(command: Command, option: bool) -> Command {
    let command = command.mut_args(|argument| {
        let argument = match Kind::of(&argument) {
            Some(Kind::File) => argument.value_hint(ValueHint::FilePath),
            Some(Kind::Folder) => argument.value_hint(ValueHint::DirPath),
            Some(kind) => argument.add(ArgValueCandidates::new(move || kind.candidates())),
            None => argument,
        };
        match argument.is_positional() || option {
            true => argument,
            false => argument.hide(true),
        }
    });
    command.mut_subcommands(|inner| extended(inner, option))
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    /// A service and `=`, behind which something follows.
    Scale,
    Stack,
    Node,
    /// A service, a stack or a node.
    Any,
    Network,
    Secret,
    Config,
    Client,
    Context,
    Image,
    /// Of the service or the stack that is on the line.
    Revision,
    File,
    Folder,
}

impl Kind {
    /// By the name that help gives the value.
    fn of(argument: &Arg) -> Option<Self> {
        let name = argument.get_value_names()?.first()?;
        Some(match name.as_str() {
            "SERVICE" | "SERVICE|TASK" => Kind::Service,
            "SERVICE=REPLICAS" => Kind::Scale,
            "STACK" => Kind::Stack,
            "SERVICE|STACK|NODE|TASK" => Kind::Any,
            "NODE" => Kind::Node,
            "NETWORK" => Kind::Network,
            "SECRET" => Kind::Secret,
            "CONFIG" => Kind::Config,
            "CLIENT" => Kind::Client,
            "CONTEXT" => Kind::Context,
            "IMAGE" => Kind::Image,
            "REVISION" => Kind::Revision,
            "FILE" => Kind::File,
            "DIR" => Kind::Folder,
            _ => return None,
        })
    }

    fn candidates(self) -> Vec<CompletionCandidate> {
        let line = typed(std::env::args_os());
        let names = match self {
            Kind::Context => contexts(),
            kind => place(&line)
                .find(variable)
                .and_then(|host| within(host, kind, &line)),
        };
        let names = names.unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    }
}

/// What a command line that is being typed says of whom it speaks to.
fn place(typed: &[String]) -> Place {
    let lenient = Cli::command().ignore_errors(true);
    let read = lenient.try_get_matches_from(typed).ok();
    read.and_then(|read| Place::from_arg_matches(&read).ok())
        .unwrap_or_default()
}

fn contexts() -> Result<BTreeSet<String>> {
    let all = Contexts::of(variable)?.all()?;
    Ok(all.into_iter().map(|(name, _)| name).collect())
}

/// The names of a kind that fit a line, within the time there is.
fn within(host: Host, kind: Kind, line: &[String]) -> Result<BTreeSet<String>> {
    let host = host.stale(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let read = runtime.block_on(async {
        tokio::time::timeout(MOST_WAIT, async {
            let client = host.connect().await?;
            read(&client, kind, line).await
        })
        .await
    });
    runtime.shutdown_background();
    read?
}

async fn read(client: &Client, kind: Kind, line: &[String]) -> Result<BTreeSet<String>> {
    if kind == Kind::Image {
        let answer = client.node()?.list_images(pb::ListImagesRequest {}).await?;
        let images = answer.into_inner().images.into_iter();
        return Ok(images.flat_map(|image| image.references).collect());
    }
    let request = pb::ReadRequest {
        services: matches!(
            kind,
            Kind::Service | Kind::Scale | Kind::Stack | Kind::Any | Kind::Revision
        ),
        revisions: kind == Kind::Revision,
        stack_history: kind == Kind::Revision,
        nodes: matches!(kind, Kind::Node | Kind::Any),
        networks: kind == Kind::Network,
        secrets: kind == Kind::Secret,
        configs: kind == Kind::Config,
        cluster: kind == Kind::Client,
        ..Default::default()
    };
    Ok(names(kind, &client.read_now(request).await?, line))
}

fn names(kind: Kind, view: &View, line: &[String]) -> BTreeSet<String> {
    let services = view.services.iter().map(|service| &service.spec);
    let is_scaled = |mode| {
        let scaled = matches!(mode, ServiceMode::Replicated { .. });
        scaled || matches!(mode, ServiceMode::ReplicatedJob { .. })
    };
    match kind {
        Kind::Service => services.map(|spec| spec.name.clone()).collect(),
        Kind::Scale => services
            .filter(|spec| is_scaled(spec.mode))
            .map(|spec| format!("{}=", spec.name))
            .collect(),
        Kind::Stack => services
            .filter_map(|spec| spec.labels.get(STACK_LABEL).cloned())
            .collect(),
        Kind::Node => {
            let nodes = view.nodes.values();
            let names = nodes.map(|entry| entry.node.description.hostname.clone());
            names.chain(["self".to_owned()]).collect()
        }
        Kind::Any => [Kind::Service, Kind::Stack, Kind::Node]
            .into_iter()
            .flat_map(|kind| names(kind, view, line))
            .collect(),
        Kind::Network => view.networks.iter().map(|n| n.spec.name.clone()).collect(),
        Kind::Secret => view.secrets.iter().map(|s| s.spec.name.clone()).collect(),
        Kind::Config => view.configs.iter().map(|c| c.spec.name.clone()).collect(),
        Kind::Revision => revisions(view, line),
        Kind::Client => {
            let clients = view.cluster.iter().flat_map(|cluster| &cluster.clients);
            clients.map(|client| client.name.clone()).collect()
        }
        Kind::Context | Kind::Image | Kind::File | Kind::Folder => BTreeSet::new(),
    }
}

/// Those of the stack or the service that a line is about.
fn revisions(view: &View, line: &[String]) -> BTreeSet<String> {
    let is_there = |name: &str| line.iter().any(|word| word == name);
    let numbers: Vec<u64> = if is_there("stack") {
        let named = view.stacks.iter().filter(|s| is_there(&s.spec.name));
        let all = named.flat_map(|stack| {
            stack
                .past
                .iter()
                .map(|p| &p.revision)
                .chain([&stack.revision])
        });
        all.map(|revision| revision.number).collect()
    } else {
        let named = view.services.iter().filter(|s| is_there(&s.spec.name));
        let all = named.flat_map(|service| {
            service
                .past
                .iter()
                .map(|p| &p.revision)
                .chain([&service.revision])
        });
        all.map(|revision| revision.number).collect()
    };
    numbers.iter().map(u64::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::time::Instant;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn arguments_that_are_names_in_the_swarm_are_known() {
        const NAMES: [&str; 9] = [
            "service", "stack", "node", "network", "secret", "config", "image", "client", "context",
        ];
        fn check(command: &Command, path: &str, known: &mut usize) {
            let path = format!("{path} {}", command.get_name());
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let singular = id.strip_suffix('s').unwrap_or(id);
                if NAMES.contains(&singular) {
                    assert!(Kind::of(argument).is_some(), "{path}: {id} has no names");
                    *known += 1;
                }
            }
            for inner in command.get_subcommands() {
                check(inner, &path, known);
            }
        }
        let mut root = Cli::command();
        root.build();
        let mut known = 0;
        check(&root, "", &mut known);
        assert!(known > 40, "{known}");
    }

    #[test]
    fn names_are_asked_of_the_daemon_that_the_line_speaks_to() {
        for (line, expected) in [
            ("skep service rm", None),
            ("skep -H /a service rm", Some("/a")),
            ("skep -H/a service rm", Some("/a")),
            ("skep --host /a service rm --n", Some("/a")),
            ("skep --host=/a service r", Some("/a")),
            ("skep -H", None),
        ] {
            let place = place(&words(line));
            assert_eq!(place.host.as_deref(), expected, "{line}");
        }
        let named = place(&words("skep --context lab service rm"));
        assert_eq!(named.context.as_deref(), Some("lab"));
        let line = ["skep", "--", "skep", "-H", "/a"].map(OsString::from);
        assert_eq!(typed(line.into_iter()), words("skep -H /a"));
    }

    #[test]
    fn options_are_shown_to_who_types_one() -> Result<()> {
        let complete = |line: &str| -> Result<Vec<String>> {
            let typed: Vec<OsString> = words(line).into_iter().map(OsString::from).collect();
            let index = typed.len() - 1;
            let mut command = command(&words(line));
            let found = clap_complete::engine::complete(&mut command, typed, index, None)?;
            let found = found
                .iter()
                .map(|found| found.get_value().to_string_lossy());
            Ok(found.map(|found| found.into_owned()).collect())
        };
        assert_eq!(complete("skep stac")?, ["stack"]);
        assert_eq!(complete("skep stack de")?, ["deploy"]);
        let options = complete("skep stack deploy --pru")?;
        assert_eq!(options, ["--prune"]);
        let commands = complete("skep stack ")?;
        assert!(
            commands.iter().all(|word| !word.starts_with('-')),
            "{commands:?}"
        );
        let options = complete("skep node ls ")?;
        assert!(
            options.contains(&"--filter".to_owned()),
            "nothing else: {options:?}"
        );
        Ok(())
    }

    #[test]
    fn names_are_those_that_commands_take() {
        let mut services = vec![
            testing::service(1, "shop_web", 1),
            testing::service(2, "agent", 1),
        ];
        services[0]
            .spec
            .labels
            .insert(STACK_LABEL.into(), "shop".into());
        services[1].spec.mode = ServiceMode::Global;
        let view = testing::swarm(services);
        let names = |kind| Vec::from_iter(names(kind, &view, &[])).join(" ");
        assert_eq!(names(Kind::Service), "agent shop_web");
        assert_eq!(names(Kind::Scale), "shop_web=");
        assert_eq!(names(Kind::Stack), "shop");
        assert_eq!(names(Kind::Node), "one self three two");
        assert_eq!(names(Kind::Any), "agent one self shop shop_web three two");
    }

    #[test]
    fn revisions_are_those_of_what_the_line_is_about() {
        let mut view = testing::swarm(vec![testing::service(1, "shop", 1)]);
        view.services[0].revision.number = 7;
        let mut shop = testing::stack_of("shop", &[]);
        shop.past = vec![skep_types::PastStack {
            revision: shop.revision,
            spec: shop.spec.clone(),
        }];
        shop.revision.number = 2;
        view.stacks = vec![shop, testing::stack_of("blog", &[])];
        let names = |line: &str| Vec::from_iter(names(Kind::Revision, &view, &words(line)));
        assert_eq!(names("skep stack diff shop "), ["1", "2"]);
        assert_eq!(names("skep stack rollback --to"), [""; 0]);
        assert_eq!(names("skep service rollback shop --to"), ["7"]);
    }

    #[test]
    fn a_daemon_that_hangs_or_is_not_there_keeps_nobody() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("skep.sock");
        let host = Host::parse(path.to_str().context("a path in text")?, None)?;
        assert!(within(host.clone(), Kind::Service, &[]).is_err());
        let hung = std::os::unix::net::UnixListener::bind(path)?;
        let began = Instant::now();
        assert!(within(host, Kind::Service, &[]).is_err());
        assert!(began.elapsed() < MOST_WAIT * 10);
        drop(hung);
        Ok(())
    }

    #[test]
    fn every_shell_has_a_script_that_asks_this_program() -> Result<()> {
        use clap::ValueEnum as _;
        for shell in Shell::value_variants() {
            let script = script(*shell)?;
            assert!(script.contains(VARIABLE), "{shell}: {script}");
        }
        let zsh = script(Shell::Zsh)?;
        assert!(zsh.contains(ZSH_OPEN_VALUES));
        assert!(
            zsh.contains("function _clap_dynamic_completer_skep()"),
            "{zsh}"
        );
        Ok(())
    }
}
