//! Certificates made by the `openssl` of the machine.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use highgate_testkit::{MariaDb, Scratch};

/// A scratch folder with an authority; nothing where MariaDB or openssl is not installed.
pub(crate) fn authority() -> Option<(Scratch, Authority)> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let scratch = Scratch::new("certificates").unwrap();
    let authority = Authority::new(scratch.path(), "ca")?;
    Some((scratch, authority))
}

/// An authority with its folder.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// An authority whose files are in `folder`; nothing where the machine has no `openssl`.
    pub(crate) fn new(folder: &Path, name: &str) -> Option<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Self { folder };
        let (cert, key) = (authority.file("ca.pem"), authority.file("ca.key"));
        let subject = format!("/CN={name}");
        let made = openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            &key,
            "-out",
            &cert,
        ]);
        if !made {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        Some(authority)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Its own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate of that name, for that address or host.
    pub(crate) fn issue(&self, name: &str, alternative: &str) -> Pair {
        let (request, cert, key) = (
            self.file(&format!("{name}.csr")),
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        );
        let extension = self.file(&format!("{name}.ext"));
        std::fs::write(&extension, format!("subjectAltName={alternative}\n")).unwrap();
        let subject = format!("/O=Test/CN={name}");
        assert!(openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ]));
        assert!(openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &self.file("ca.pem"),
            "-CAkey",
            &self.file("ca.key"),
            "-CAcreateserial",
            "-days",
            "20",
            "-extfile",
            &extension,
            "-out",
            &cert,
        ]));
        Pair { cert: cert.into(), key: key.into() }
    }
}

/// A certificate of its own that expired yesterday; nothing where the machine has no `openssl`.
pub(crate) fn expired(folder: &Path) -> Option<Pair> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (request, cert, key) = (path("old.csr"), path("old.pem"), path("old.key"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let rest = ["-subj", "/CN=old", "-keyout", &key, "-out", &request];
    if !openssl(&[&["req"], &curve[..], &rest].concat()) {
        eprintln!("skipped: openssl is not installed");
        return None;
    }
    let extension = path("old.ext");
    // Of version 3, which extensions make it.
    std::fs::write(&extension, "subjectAltName=IP:127.0.0.1\n").unwrap();
    let ends = ["-days", "-1", "-extfile", &extension, "-out", &cert];
    openssl(&[&["x509", "-req", "-in", &request, "-signkey", &key], &ends[..]].concat());
    Some(Pair { cert: cert.into(), key: key.into() })
}

fn openssl(arguments: &[&str]) -> bool {
    let ran = Command::new("openssl").args(arguments).output();
    match ran {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "openssl {arguments:?}: {error}");
            true
        }
        Err(_) => false,
    }
}

/// The subject of the certificate that a MySQL listener shows.
pub(crate) fn shown(address: std::net::SocketAddr) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", "mysql", "-connect", &address.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
}
