//! Where commands of the pages are run: a folder with the quickstart's manifests, and both programs on the path.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use vectoll_tests::{
    documents::{block, repository, with},
    pair::binaries::binary,
};

/// A folder in which the commands of the pages are run, with both programs on the path.
pub struct Desk {
    pub folder: tempfile::TempDir,
    path: String,
    pub ports: [u16; 2],
}

impl Desk {
    /// With the quickstart's manifests.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests)?;
        for entry in repository().join("crds/examples/quickstart").read_dir()? {
            let from = entry?.path();
            fs::copy(&from, manifests.join(from.file_name().context("no name")?))?;
        }
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        for name in ["vectoll-operator", "vectoll-sidecar"] {
            std::os::unix::fs::symlink(binary(name)?, bin.join(name))?;
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
        let free = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        Ok(Self { folder, path, ports: [free()?, free()?] })
    }

    /// Runs commands, with `before` and `after` as they stand. What runs in the background ends with them.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("VECTOLL_LISTEN", format!("127.0.0.1:{}", self.ports[0]))
            .env("VECTOLL_ACCESS_LOG", "off")
            .env("VECTOLL_ADMIN_LISTEN", format!("127.0.0.1:{}", self.ports[1]))
            .stdin(Stdio::null())
            .output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script}\n{out}{err}");
        Ok(out.into_owned())
    }

    /// Has the operator judge manifests. An error: what it refuses.
    pub fn judged(&self, manifests: &str) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("shown.yaml"), manifests)?;
        let said =
            self.run(&format!("vectoll-operator render --manifests {} 2>&1 || true", folder.path().display()))?;
        let refused = said.lines().find(|line| line.contains("manifest refused") || line.contains("Accepted=False"));
        ensure!(refused.is_none(), "{}", refused.unwrap_or_default());
        // It was read, and not passed over.
        ensure!(said.contains("Accepted=True") || said.contains("Ready=True"), "{said}");
        Ok(())
    }

    /// The value of a key, by the command of the page on standalone.
    pub fn key(&self, name: &str) -> anyhow::Result<String> {
        let said = self.run(&with(&block("standalone-key")?, "alice", name)?)?;
        Ok(said.strip_suffix('\n').context("more than a line")?.to_owned())
    }
}
