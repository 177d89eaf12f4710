//! Helm, and other programs that are run to their end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};

/// Where all tests install the release.
pub const NAMESPACE: &str = "vectoll-system";

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub well: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Its stdout, if it ended well.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(self.well, "{}{}", self.out, self.err);
        Ok(self.out)
    }

    /// Its complaint, if it ended badly.
    pub fn refused(self) -> anyhow::Result<String> {
        ensure!(!self.well, "it was not refused: {}{}", self.out, self.err);
        Ok(self.err)
    }
}

pub fn run(command: &mut Command) -> anyhow::Result<Said> {
    let output = command.output().with_context(|| format!("failed to start {}", command.get_program().display()))?;
    Ok(Said {
        well: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// The YAML files of a folder, in order.
pub fn yaml_files(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in repository(folder).read_dir().with_context(|| format!("failed to list {folder}"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "no YAML in {folder}");
    Ok(files)
}

/// Helm, of the version that the test cluster pins; built on first use. It sees nothing of the user's own Helm.
pub fn helm() -> anyhow::Result<Command> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let built = run(Command::new(repository("tests/cluster/tools/build")).arg("helm")).and_then(Said::ok);
        built.map(|folder| Path::new(folder.trim()).join("helm")).map_err(|error| format!("{error:#}"))
    });
    let program = program.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut command = Command::new(program);
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(variable, nowhere);
    }
    command.env_remove("KUBECONFIG");
    Ok(command)
}
